"""Tells which layers of a study are up to date: of the study as it stands, known to Dagster, not blocked.

The files say how they came to be, so that a layer that an older study left behind, or that was made from
tables that have changed since, is made again.
"""

from dataclasses import dataclass

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.checks import check_keys
from assets.stage import key
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study, layer_key, layer_of
from neuroscribe.study.stages import STAGES, Phase, Stage, stages_of


@dataclass(frozen=True)
class Freshness:
    """What is up to date of one study in one instance and store."""

    study: Study
    instance: dg.DagsterInstance
    tables: TableReader

    def captured(self) -> set[int]:
        """Return the layers whose statistics and records are all up to date, and blocked by no check."""
        return self._fresh("capture")

    def sampled(self) -> set[int]:
        """Return the layers whose sampled activations and token lookup are up to date."""
        return self._fresh("sample")

    def stale_texts(self) -> list[str]:
        """Return the stages of the capture, not of single layers, whose tables are not up to date.

        With every layer captured, it is what a study has asked for since: another encoder of its text.
        """
        lineage = Lineage(self.study.name, self.tables)
        of_text = [stage for stage in self._stages() if stage.phase == "capture" and not stage.per_layer]
        return [stage.name for stage in of_text if not lineage.is_current(self.study, stage.name, None)]

    def explained(self) -> set[int]:
        """Return the layers that are explained, simulated and scored, and blocked by no check.

        A layer with an LLM call that failed for good is not among them: it is worth asking again.
        """
        fresh = self._fresh("explain")
        return {layer for layer in fresh if not self._has_failed_calls(layer)}

    def _fresh(self, phase: Phase) -> set[int]:
        lineage = Lineage(self.study.name, self.tables)
        layers = set(range(self.study.subject.layers))
        for stage in (stage.name for stage in self._stages() if stage.phase == phase and stage.per_layer):
            layers &= self._materialised(stage)
            layers = {layer for layer in layers if lineage.is_current(self.study, stage, layer)}
            layers = {layer for layer in layers if not self._is_blocked(stage, layer)}
        return layers

    def _stages(self) -> list[Stage]:
        return [STAGES[name] for name in stages_of(self.study)]

    def _materialised(self, asset: str) -> set[int]:
        keys = self.instance.get_materialized_partitions(key(self.study, asset))
        return {layer_of(partition) for partition in keys}

    def _has_failed_calls(self, layer: int) -> bool:
        asked = [table.name for stage in self._stages() if stage.asks for table in stage.tables]
        frames = [self.tables.read(self.study.name, name, layer) for name in asked]
        return any(((frame["status"] == "failed") & (frame["model"] != "none")).any() for frame in frames)

    def _is_blocked(self, stage: str, layer: int) -> bool:
        """Tell whether the last evaluation of a blocking check on a stage's layer failed."""
        latest = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(
            check_keys(self.study, stage, severity="error"),
            partition_filter=PartitionKeyFilter(key=layer_key(layer)),
        )
        return any(record.status == AssetCheckExecutionRecordStatus.FAILED for record in latest.values())
