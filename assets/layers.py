"""How a stage's work reaches Dagster: layer by layer, each with facts and a data version of its own."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from inspect import Signature, signature
from typing import Any

import dagster as dg
import polars as pl

from neuroscribe.errors import BatchPendingError, NeuroscribeError
from neuroscribe.ports.frames import MadeLayer, MadeLayers
from neuroscribe.secrets.known import without_telling_causes
from neuroscribe.study.spec import layer_key

PENDING = "neuroscribe/pending"
"""Marks the failure of a step whose answers are under way in a batch job."""
LLM_RETRIES = 2
"""Further attempts at a layer whose step broke for a reason that nobody foresaw; answers so far are kept."""
DATA_VERSION = "dagster/data_version"
"""The tag by which Dagster tells whether what an asset was made from has changed since."""

_LARGE = 100
"""From which on decimals say nothing to who reads a number on a page."""


@dataclass(frozen=True)
class OfLayer:
    """What an asset has made of one layer."""

    layer: int
    frame: pl.DataFrame
    metadata: Mapping[str, Any]
    """What its partition shows."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    """What its file says beside what the stage declares."""


Compute = Callable[..., dg.MaterializeResult | Iterable[OfLayer]]


def by_layer(
    compute: Compute, work: Callable[[], AbstractContextManager[None]], said: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return a function that gives Dagster's store what `compute` yields, layer by layer.

    What is `said` stands beside all layers.
    """

    @wraps(compute)
    def run(context: dg.AssetExecutionContext, **inputs: Any) -> Iterator[dg.MaterializeResult]:
        reports: dict[str, dict[str, Any]] = {}

        def frames() -> Iterator[MadeLayer]:
            is_whole = False
            try:
                with work():
                    for done in compute(context, **inputs):
                        assert isinstance(done, OfLayer), "a stage of layers yields these"
                        key = layer_key(done.layer)
                        reports[key] = {name: rounded(value) for name, value in done.metadata.items()}
                        context.add_asset_metadata(reports[key], partition_key=key)
                        yield MadeLayer(key, done.frame, done.provenance)
                is_whole = True
            finally:
                if not is_whole:
                    _report_stored(context, made.contents, said, reports)

        made = MadeLayers(frames())
        yield dg.MaterializeResult(value=made, metadata=said)
        if len(made.contents) > 1:
            _report_versions(context, made.contents)

    # Of generators Dagster would take the return type for that of what is stored.
    vars(run)["__signature__"] = signature(compute).replace(return_annotation=Signature.empty)
    return run


def _report_versions(context: dg.AssetExecutionContext, contents: Mapping[str, str]) -> None:
    """Say of each layer once more that it is there, with the hash of its own rows as its data version.

    Dagster gives all partitions of a run one version; by that, layers that are equal to the bit would make
    stale what was made from them.
    """
    asset = context.asset_key
    last = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=list(contents))
    for record in reversed(context.instance.fetch_materializations(last, limit=len(contents)).records):
        event = record.asset_materialization
        assert event is not None
        assert event.partition is not None
        version = {DATA_VERSION: contents[event.partition]}
        context.log_event(event._replace(tags={**(event.tags or {}), **version}))


def _report_stored(
    context: dg.AssetExecutionContext,
    contents: Mapping[str, str],
    said: Mapping[str, Any],
    reports: Mapping[str, Mapping[str, Any]],
) -> None:
    """Say of the layers that a run stored before it failed that they are there, with what they show."""
    for partition, content in contents.items():
        context.log_event(
            dg.AssetMaterialization(
                context.asset_key,
                partition=partition,
                metadata={**said, **reports[partition]},
                tags={DATA_VERSION: content},
            )
        )


def rounded(value: Any) -> Any:
    """Return a number that is not whole with three digits, or without decimals from a hundred on."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return float(f"{value:.0f}" if abs(value) >= _LARGE else f"{value:.3g}")


@contextmanager
def plain_failures(*, retries: int = 0) -> Iterator[None]:
    """End the run with the message of an error that a user can act on; ask for retries after others.

    Not by a retry policy: Dagster applies those to a run that a user terminates, too, and starts it again.
    """
    try:
        yield
    except NeuroscribeError as error:
        pending = isinstance(error, BatchPendingError)
        raise dg.Failure(
            description=str(error), metadata={PENDING: True} if pending else {}, allow_retries=False
        ) from without_telling_causes(error)
    except Exception as error:
        if not retries:
            raise
        raise dg.RetryRequested(max_retries=retries, seconds_to_wait=10) from without_telling_causes(error)
