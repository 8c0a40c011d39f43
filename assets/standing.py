"""How the checks of a study stand in an instance of Dagster's: the latest evaluation of each, by layer."""

from collections.abc import Iterator, Mapping

import dagster as dg
import polars as pl
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from assets.checks import SUITES, check_keys
from assets.partitions import partitions_of
from neuroscribe.report.checks import FAILS, PASSES, STANDING, WARNS
from neuroscribe.study.spec import Study


def standing(study: Study, instance: dg.DagsterInstance) -> pl.DataFrame:
    """Return STANDING of what has been examined; checks that a run planned and did not make are left out."""
    return pl.DataFrame(list(_rows(study, instance)), STANDING, orient="row")


def _rows(study: Study, instance: dg.DagsterInstance) -> Iterator[tuple[str, str, str, str, str]]:
    for stage in SUITES:
        for place, latest in _latest(study, stage, instance):
            for check in check_keys(study, stage):
                record = latest.get(check)
                if record is not None and (found := _found(record)):
                    yield stage, place, check.name, *found


def _latest(
    study: Study, stage: str, instance: dg.DagsterInstance
) -> Iterator[tuple[str, Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]]]:
    """Yield the latest records of a stage's checks by layer."""
    partitions = partitions_of(study, stage)
    keys = check_keys(study, stage)
    for partition in [None] if partitions is None else partitions.get_partition_keys():
        yield (
            partition or "all",
            instance.event_log_storage.get_latest_asset_check_execution_by_key(
                keys, partition_filter=PartitionKeyFilter(key=partition)
            ),
        )


def _found(record: AssetCheckExecutionRecord) -> tuple[str, str] | None:
    """Return how a check stands and what it found; None for one that was planned and not made."""
    evaluation = record.evaluation
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        return None
    bad = FAILS if evaluation.severity == dg.AssetCheckSeverity.ERROR else WARNS
    return PASSES if evaluation.passed else bad, evaluation.description or ""
