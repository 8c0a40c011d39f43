"""What all assets of a study have in common: key, group, owners, versions, table schema, lineage, retries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import layer_partitions
from neuroscribe.errors import BatchPendingError, NeuroscribeError
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import provenance, stage_version
from neuroscribe.tables.records import TABLES, Table

OWNERS = ["team:interpretability"]
PENDING = "neuroscribe/pending"
"""Marks the failure of a step whose answers are under way in a batch job."""
LLM_RETRIES = 2
"""Further attempts at a layer whose step broke for a reason that nobody foresaw; answers so far are kept."""


def stage(
    study: Study,
    name: str,
    *,
    description: str,
    kinds: set[str],
    tables: tuple[str, ...] = (),
    lineage: dict[str, tuple[tuple[str, str], ...]] | None = None,
    **options: Any,
) -> Callable[..., dg.AssetsDefinition]:
    """Return `dg.asset` with the study's settings; `options` go to Dagster as they are.

    `lineage` names for a column the (asset, column) pairs it is made from.
    """
    metadata: dict[str, Any] = {"neuroscribe/provenance": provenance(study, name)}
    if tables:
        metadata["neuroscribe/tables"] = list(tables)
        metadata["dagster/column_schema"] = column_schema(TABLES[tables[0]])
        metadata["dagster/table_name"] = f"{study.name}/{tables[0]}"
    if lineage:
        metadata["dagster/column_lineage"] = column_lineage(study, lineage)
    return dg.asset(
        name=name,
        key_prefix=[study.name],
        group_name=study.name,
        owners=OWNERS,
        kinds=kinds,
        description=description,
        code_version=stage_version(study, name),
        metadata=metadata,
        **options,
    )


def key(study: Study, name: str) -> dg.AssetKey:
    """Return the key of a study's asset."""
    return dg.AssetKey([study.name, name])


def ins(study: Study, *names: str) -> dict[str, dg.AssetIn]:
    """Return the inputs of an asset, by parameter name."""
    return {name: dg.AssetIn(key=key(study, name)) for name in names}


def per_layer(study: Study, *, one_run: bool) -> dict[str, Any]:
    """Return the options of an asset with a partition per layer; `one_run`: a backfill is a single run."""
    policy = {"backfill_policy": dg.BackfillPolicy.single_run()} if one_run else {}
    return {"partitions_def": layer_partitions(study), **policy}


def column_schema(table: Table) -> dg.TableSchema:
    """Return a table's declared columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ]
    )


def column_lineage(study: Study, lineage: dict[str, tuple[tuple[str, str], ...]]) -> dg.TableColumnLineage:
    """Return which columns of which assets a column is made from."""
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key=key(study, asset), column_name=source)
                for asset, source in sources
            ]
            for column, sources in lineage.items()
        }
    )


def table_metadata(frame: pl.DataFrame) -> dg.MetadataValue:
    """Show a small frame as a table, whose rows all have the same fields."""
    return dg.MetadataValue.table(
        [dg.TableRecord({k: "-" if v is None else v for k, v in row.items()}) for row in frame.to_dicts()],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in frame.columns]),
    )


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
        ) from error
    except Exception as error:
        if not retries:
            raise
        raise dg.RetryRequested(max_retries=retries, seconds_to_wait=10) from error
