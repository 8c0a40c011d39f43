"""Tells which layers of a study are up to date: of the study as it stands, known to Dagster, not blocked.

The files say how they came to be, so that a layer that an older study left behind, or that was made from
tables that have changed since, is made again.
"""

from dataclasses import dataclass

import dagster as dg

from assets.checks import check_keys
from assets.stage import key
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study, layer_key, layer_of
from neuroscribe.study.stages import STAGES, Phase, Stage, layers_of, stages_of


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
        stages = [stage.name for stage in self._stages() if stage.phase == phase and stage.per_layer]
        layers = set(layers_of(self.study, stages[0]))
        for stage in stages:
            layers &= self._materialised(stage)
            layers = {layer for layer in layers if lineage.is_current(self.study, stage, layer)}
            layers -= self._blocked(stage, layers)
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

    def _blocked(self, stage: str, layers: set[int]) -> set[int]:
        """Return the layers on whose results of a stage the last evaluation of a blocking check failed."""
        found = self.instance.event_log_storage.get_asset_check_partition_info(
            check_keys(self.study, stage, severity="error"),
            partition_keys=[layer_key(layer) for layer in sorted(layers)],
        )
        failed = [each for each in found if each.latest_execution_status.value == "FAILED"]
        return {layer_of(each.partition_key) for each in failed if each.partition_key}
