"""What all assets of a study have in common, read off the declaration of their stage."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from inspect import Parameter, Signature, getsourcefile, getsourcelines, signature
from typing import Any

import dagster as dg
import polars as pl
import polars.selectors as cs

from assets.partitions import partitions_of, selected_layers
from neuroscribe.errors import BatchPendingError, NeuroscribeError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.frames import MadeLayer, MadeLayers
from neuroscribe.secrets.known import without_telling_causes
from neuroscribe.study.spec import LLMSpec, Study, layer_key
from neuroscribe.study.stages import (
    STAGES,
    Stage,
    layers_of,
    provenance,
    stage_identity,
    stages_of,
    upstream_of,
)
from neuroscribe.tables.columns import Table


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
OWNERS = ["team:interpretability"]
PENDING = "neuroscribe/pending"
"""Marks the failure of a step whose answers are under way in a batch job."""
LLM_RETRIES = 2
"""Further attempts at a layer whose step broke for a reason that nobody foresaw; answers so far are kept."""
LAYERS_PER_RUN = 8
"""Layers that one run of a backfill explains at most: a run costs seconds to start, and ends as a whole."""
DATA_VERSION = "dagster/data_version"
"""The tag by which Dagster tells whether what an asset was made from has changed since."""


def stage(
    study: Study, name: str, *, description: str, kinds: set[str], pool: str | None = None
) -> Callable[[Compute], dg.AssetsDefinition]:
    """Return the decorator that makes a function the asset of a stage.

    One whose results are layers' yields an OfLayer for each layer of the run, and each is stored before the
    next is made. A stage that it reads is loaded where a parameter bears its name (or `**` takes the rest);
    the others are only waited for.
    """
    declared = STAGES[name]

    def asset(compute: Compute) -> dg.AssetsDefinition:
        work = partial(plain_failures, retries=LLM_RETRIES if declared.asks else 0)
        return dg.asset(
            name=name,
            key_prefix=[study.name],
            group_name=study.name,
            owners=OWNERS,
            kinds=kinds,
            description=description + _about_layers(study, declared),
            code_version=stage_identity(study, name),
            config_schema={},  # what is done is said by the study, and nothing by a run's configuration
            metadata={**_metadata(study, declared), **_code_reference(compute)},
            pool="llm" if declared.asks else pool,
            partitions_def=partitions_of(study, name),
            backfill_policy=dg.BackfillPolicy.multi_run(LAYERS_PER_RUN)
            if declared.phase == "explain"
            else dg.BackfillPolicy.single_run(),
            **_inputs(study, declared, compute),
        )(_by_layer(compute, work) if declared.per_layer else work()(compute))

    return asset


def key(study: Study, name: str) -> dg.AssetKey:
    """Return the key of a study's asset."""
    return dg.AssetKey([study.name, name])


def provider_kind(spec: LLMSpec) -> str:
    """Return what Dagster shows for where a model is asked."""
    return spec.provider if spec.served else "huggingface"


def evidence_by_layer(
    study: Study, context: dg.AssetExecutionContext, inputs: Mapping[str, Mapping[str, pl.DataFrame]]
) -> Iterator[LayerEvidence]:
    """Yield what an asset's inputs, by stage, tell of each layer of the run, one after the other."""
    for layer in selected_layers(context):
        tables: dict[str, pl.DataFrame] = {}
        for name, frames in inputs.items():
            is_of_layer = STAGES[name].per_layer
            tables |= {STAGES[name].tables[0].name: frames[layer_key(layer)]} if is_of_layer else frames
        yield LayerEvidence(study, layer, tables)


def table_metadata(frame: pl.DataFrame) -> dg.MetadataValue:
    """Show a small frame as a table, whose rows all have the same fields; numbers are rounded."""
    rows = frame.with_columns(cs.float().round_sig_figs(3)).to_dicts()
    return dg.MetadataValue.table(
        [dg.TableRecord({k: "-" if v is None else v for k, v in row.items()}) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in frame.columns]),
    )


def _inputs(study: Study, declared: Stage, compute: Compute) -> dict[str, Any]:
    """Return which assets are loaded, by parameter, and which are only waited for: publishing, for all."""
    parameters = signature(compute).parameters
    takes_rest = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    loaded = [name for name in upstream_of(study, declared.name) if takes_rest or name in parameters]
    before = [name for name in stages_of(study) if STAGES[name].phase != "publish"]
    awaited = before if declared.phase == "publish" else upstream_of(study, declared.name)
    return {
        "ins": {name: dg.AssetIn(key=key(study, name)) for name in loaded},
        "deps": [key(study, name) for name in awaited if name not in loaded],
    }


def _metadata(study: Study, declared: Stage) -> dict[str, Any]:
    """Return what the tables of a stage are called, look like and are made from."""
    metadata: dict[str, Any] = {"neuroscribe/provenance": provenance(study, declared.name)}
    if declared.tables:
        first, *others = declared.tables
        metadata["neuroscribe/tables"] = [table.name for table in declared.tables]
        metadata["dagster/column_schema"] = _column_schema(first)
        metadata["dagster/table_name"] = f"{study.name}/{first.name}"
        if sources := _column_sources(study, first):
            metadata["dagster/column_lineage"] = dg.TableColumnLineage(sources)
        metadata |= {f"{table.name}/column_schema": _column_schema(table) for table in others}
    return metadata


def _column_schema(table: Table) -> dg.TableSchema:
    """Return a table's columns as Dagster shows them."""
    columns = [
        dg.TableColumn(
            column.name,
            str(column.dtype),
            column.description,
            dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table.columns
    ]
    return dg.TableSchema(columns, dg.TableConstraints([f"one row per {', '.join(table.key)}"]))


def _column_sources(study: Study, table: Table) -> dict[str, list[dg.TableColumnDep]]:
    """Return, by column, the columns of the study's assets that it is made from."""
    present = stages_of(study)
    return {
        column.name: [
            dg.TableColumnDep(asset_key=key(study, stage), column_name=source)
            for stage, source in column.sources
            if stage in present
        ]
        for column in table.columns
        if column.sources
    }


def _by_layer(compute: Compute, work: Callable[[], AbstractContextManager[None]]) -> Callable[..., Any]:
    """Return a function that gives Dagster's store what `compute` yields, layer by layer."""

    @wraps(compute)
    def run(context: dg.AssetExecutionContext, **inputs: Any) -> Iterator[dg.MaterializeResult]:
        def frames() -> Iterator[MadeLayer]:
            is_whole = False
            try:
                with work():
                    for done in compute(context, **inputs):
                        assert isinstance(done, OfLayer), "a stage of layers yields these"
                        context.add_asset_metadata(
                            _rounded(done.metadata), partition_key=layer_key(done.layer)
                        )
                        yield MadeLayer(layer_key(done.layer), done.frame, done.provenance)
                is_whole = True
            finally:
                if not is_whole:
                    _report_stored(context, made.contents)

        made = MadeLayers(frames())
        yield dg.MaterializeResult(value=made)
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


def _report_stored(context: dg.AssetExecutionContext, contents: Mapping[str, str]) -> None:
    """Say of the layers that a run stored before it failed that they are there."""
    for partition, content in contents.items():
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=partition, tags={DATA_VERSION: content})
        )


def _about_layers(study: Study, declared: Stage) -> str:
    """Return why other layers are no partitions of a stage, where that is so."""
    if not declared.per_layer or len(layers_of(study, declared.name)) == study.subject.layers:
        return ""
    sampled = ", ".join(map(str, study.sampled_layers))
    return (
        f" Of layers {sampled} alone: the study samples no neurons of others. One that is added to"
        " sample.layers becomes a partition, and makes nothing anew that is there."
    )


def _rounded(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a partition shows with three digits of each number that is not whole."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in metadata.items()
    }


def _code_reference(compute: Compute) -> dict[str, Any]:
    """Return where an asset is written, which Dagster shows as a link."""
    path, line = getsourcefile(compute), getsourcelines(compute)[1]
    assert path is not None, "written in a file"
    reference = dg.LocalFileCodeReference(file_path=path, line_number=line)
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}


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
