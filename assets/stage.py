"""What all assets of a study have in common, read off the declaration of their stage."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial, wraps
from inspect import Parameter, getsourcefile, getsourcelines, signature
from typing import Any

import dagster as dg
import polars as pl

from assets.layers import LLM_RETRIES, Compute, by_layer, plain_failures, rounded
from assets.partitions import partitions_of
from neuroscribe.study.spec import LLMSpec, Study
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

OWNERS = ["team:interpretability"]
LAYERS_PER_RUN = 8
"""Layers that one run of a backfill explains at most: a run costs seconds to start, and ends as a whole."""


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
        )(_run(compute, work, _column_lineage(study, declared), per_layer=declared.per_layer))

    return asset


def key(study: Study, name: str) -> dg.AssetKey:
    """Return the key of a study's asset."""
    return dg.AssetKey([study.name, name])


def provider_kind(spec: LLMSpec) -> str:
    """Return what Dagster shows for where a model is asked."""
    return spec.provider if spec.served else "huggingface"


def table_metadata(frame: pl.DataFrame) -> dg.MetadataValue:
    """Show a small frame as a table, whose rows all have the same fields; numbers are rounded."""
    rows = [{name: rounded(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]
    return dg.MetadataValue.table(
        [dg.TableRecord({k: "-" if v is None else v for k, v in row.items()}) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in frame.columns]),
    )


def _run(
    compute: Compute,
    work: Callable[[], AbstractContextManager[None]],
    said: Mapping[str, Any],
    *,
    per_layer: bool,
) -> Callable[..., Any]:
    """Return what Dagster calls; what is `said` stands beside each materialisation."""
    if per_layer:
        return by_layer(compute, work, said)

    @wraps(compute)
    def run(*args: Any, **inputs: Any) -> dg.MaterializeResult:
        with work():
            made = compute(*args, **inputs)
            assert isinstance(made, dg.MaterializeResult), "a stage without layers returns this"
            return made._replace(metadata={**(made.metadata or {}), **said})

    return run


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
        metadata |= _column_lineage(study, declared)
        metadata |= {f"{table.name}/column_schema": _column_schema(table) for table in others}
    return metadata


def _column_lineage(study: Study, declared: Stage) -> dict[str, Any]:
    """Return what the columns of a stage's first table are made from; Dagster+ draws it."""
    sources = _column_sources(study, declared.tables[0]) if declared.tables else {}
    return {"dagster/column_lineage": dg.TableColumnLineage(sources)} if sources else {}


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


def _about_layers(study: Study, declared: Stage) -> str:
    """Return why other layers are no partitions of a stage, where that is so."""
    if not declared.per_layer or len(layers_of(study, declared.name)) == study.subject.layers:
        return ""
    sampled = ", ".join(map(str, study.sampled_layers))
    return (
        f" Of layers {sampled} alone: the study samples no neurons of others. One that is added to"
        " sample.layers becomes a partition, and makes nothing anew that is there."
    )


def _code_reference(compute: Compute) -> dict[str, Any]:
    """Return where an asset is written, which Dagster shows as a link."""
    path, line = getsourcefile(compute), getsourcelines(compute)[1]
    assert path is not None, "written in a file"
    reference = dg.LocalFileCodeReference(file_path=path, line_number=line)
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}
