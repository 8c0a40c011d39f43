"""What all assets of a study have in common, read off the declaration of their stage."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import selected_layers, stage_partitions
from neuroscribe.errors import BatchPendingError, NeuroscribeError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.secrets.known import without_telling_causes
from neuroscribe.study.spec import LLMSpec, Study
from neuroscribe.study.stages import STAGES, Stage, provenance, stage_version, stages_of, upstream_of
from neuroscribe.tables.columns import Table

Compute = Callable[..., dg.MaterializeResult]
OWNERS = ["team:interpretability"]
PENDING = "neuroscribe/pending"
"""Marks the failure of a step whose answers are under way in a batch job."""
LLM_RETRIES = 2
"""Further attempts at a layer whose step broke for a reason that nobody foresaw; answers so far are kept."""


def stage(
    study: Study, name: str, *, description: str, kinds: set[str], pool: str | None = None
) -> Callable[[Compute], dg.AssetsDefinition]:
    """Return the decorator that makes a function the asset of a stage.

    A stage that it reads is loaded where a parameter bears its name (or `**` takes the rest); the others are
    only waited for.
    """
    declared = STAGES[name]

    def asset(compute: Compute) -> dg.AssetsDefinition:
        return dg.asset(
            name=name,
            key_prefix=[study.name],
            group_name=study.name,
            owners=OWNERS,
            kinds=kinds,
            description=description,
            code_version=stage_version(study, name),
            config_schema={},  # what is done is said by the study, and nothing by a run's configuration
            metadata=_metadata(study, declared),
            pool="llm" if declared.asks else pool,
            partitions_def=stage_partitions(study, name),
            backfill_policy=None if declared.phase == "explain" else dg.BackfillPolicy.single_run(),
            **_inputs(study, declared, compute),
        )(plain_failures(retries=LLM_RETRIES if declared.asks else 0)(compute))

    return asset


def key(study: Study, name: str) -> dg.AssetKey:
    """Return the key of a study's asset."""
    return dg.AssetKey([study.name, name])


def provider_kind(spec: LLMSpec) -> str:
    """Return what Dagster shows for where a model is asked."""
    return spec.provider if spec.served else "huggingface"


def layer_evidence(
    study: Study, context: dg.AssetExecutionContext, inputs: Mapping[str, Any]
) -> LayerEvidence:
    """Return what an asset's inputs, by stage, tell of the run's one layer."""
    (layer,) = selected_layers(context)
    tables: dict[str, pl.DataFrame] = {}
    for name, value in inputs.items():
        tables |= value if isinstance(value, dict) else {STAGES[name].tables[0].name: value}
    return LayerEvidence(study, layer, tables)


def table_metadata(frame: pl.DataFrame) -> dg.MetadataValue:
    """Show a small frame as a table, whose rows all have the same fields."""
    return dg.MetadataValue.table(
        [dg.TableRecord({k: "-" if v is None else v for k, v in row.items()}) for row in frame.to_dicts()],
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
