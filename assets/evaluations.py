"""What Dagster is told of a study's checks: an evaluation per rule and layer, and how many warn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from assets.stage import key
from neuroscribe.ports.checks import Told, Verdict
from neuroscribe.study.spec import Study, layer_key

_REPORTS_PER_RUN = 4
"""How often a run says at most that a layer is there: with its version, and by each attempt."""
_SHOWN = 50
"""Failing rows shown in the UI; the finding counts them all."""


@dataclass(frozen=True)
class Record:
    """Dagster's record of the table of one layer, or of a stage without layers."""

    study: Study
    stage: str
    layer: int | None
    instance: dg.DagsterInstance

    @property
    def asset(self) -> dg.AssetKey:
        """The asset that holds the table."""
        return key(self.study, self.stage)

    @property
    def partition(self) -> str | None:
        """The layer's partition."""
        return None if self.layer is None else layer_key(self.layer)

    def _materialisations(self, limit: int) -> Sequence[dg.EventLogRecord]:
        """Return the last materialisations, latest first, as far as there are any."""
        partitions = None if self.partition is None else [self.partition]
        wanted = dg.AssetRecordsFilter(self.asset, asset_partitions=partitions)
        return self.instance.fetch_materializations(wanted, limit=limit).records

    def told(self) -> Told:
        """Return the metadata of the last materialisation, and of the last one by another run."""
        records = self._materialisations(_REPORTS_PER_RUN + 1)
        others = [record for record in records[1:] if record.run_id != records[0].run_id]
        return Told(*(_metadata_of(record) for record in [*records[:1], *others[:1]]))

    def evaluations(self, verdicts: Sequence[Verdict]) -> Iterator[dg.AssetCheckEvaluation]:
        """Yield what Dagster keeps of verdicts, pointing to the materialisation that they are on.

        Of an evaluation that points to none, the page takes it that the layer has been made again since.
        """
        latest = next(iter(self._materialisations(1)), None)
        target = latest and AssetCheckEvaluationTargetMaterializationData(
            run_id=latest.run_id, storage_id=latest.storage_id, timestamp=latest.timestamp
        )
        for verdict in verdicts:
            yield dg.AssetCheckEvaluation(
                asset_key=self.asset,
                check_name=verdict.rule,
                passed=verdict.passed,
                severity=_severity(verdict),
                description=verdict.observed,
                metadata=_metadata(verdict),
                blocking=verdict.severity == "error",
                partition=self.partition,
                target_materialization_data=target,
            )

    def count(self, verdicts: Sequence[Verdict]) -> dg.AssetObservation:
        """Return how many checks warn and fail, which the page shows beside the asset's materialisations."""
        failed = [verdict.severity for verdict in verdicts if not verdict.passed]
        counts = {"checks": len(verdicts), "checks_warn": failed.count("warn")}
        return dg.AssetObservation(
            self.asset, partition=self.partition, metadata={**counts, "checks_fail": failed.count("error")}
        )


def totals(
    study: Study, stage: str, found: Mapping[int | None, Sequence[Verdict]]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield one evaluation per rule over all layers: a run without a partition is planned to have it."""
    by_rule: dict[str, dict[int | None, Verdict]] = {}
    for layer, verdicts in found.items():
        for verdict in verdicts:
            by_rule.setdefault(verdict.rule, {})[layer] = verdict
    for rule, by_layer in by_rule.items():
        failed = [f"{_place(layer)}: {each.observed}" for layer, each in by_layer.items() if not each.passed]
        example = next(iter(by_layer.values()))
        yield dg.AssetCheckEvaluation(
            asset_key=key(study, stage),
            check_name=rule,
            passed=not failed,
            severity=_severity(example),
            description="; ".join(failed) or f"passed in {len(by_layer)} layers",
            metadata={"rule": example.description, "layers": len(by_layer), "layers_failed": len(failed)},
            blocking=example.severity == "error",
        )


def failures(stage: str, found: Mapping[int | None, Sequence[Verdict]]) -> str | None:
    """Return in a line what failed and what merely warns; None where all passed."""
    words = {"error": "fail", "warn": "warn"}
    lines: list[str] = []
    for severity, word in words.items():
        failed = [
            f"{_place(layer)} {verdict.rule} ({verdict.observed})"
            for layer, verdicts in found.items()
            for verdict in verdicts
            if verdict.severity == severity and not verdict.passed
        ]
        if failed:
            count = f"{len(failed)} checks {word}" if len(failed) > 1 else f"1 check {word}s"
            lines.append(f"{count}: {'; '.join(failed)}")
    return f"{stage}: {'. '.join(lines)}" if lines else None


def _place(layer: int | None) -> str:
    return "all" if layer is None else layer_key(layer)


def _severity(verdict: Verdict) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if verdict.severity == "error" else dg.AssetCheckSeverity.WARN


def _metadata_of(record: dg.EventLogRecord) -> dict[str, object]:
    made = record.asset_materialization
    return {} if made is None else {name: value.value for name, value in made.metadata.items()}


def _metadata(verdict: Verdict) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "rule": dg.MetadataValue.text(verdict.description),
        "finding": dg.MetadataValue.text(verdict.observed),
    }
    if verdict.measure is not None:
        metadata["measure"] = dg.MetadataValue.float(float(verdict.measure))
    if verdict.failing:
        names = list(verdict.failing[0])
        metadata["failing_rows"] = dg.MetadataValue.table(
            [dg.TableRecord({name: str(row[name]) for name in names}) for row in verdict.failing[:_SHOWN]],
            schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in names]),
        )
    return metadata
