"""Tells which layers of a study are up to date: of the study as it stands, known to Dagster, not blocked.

The files say how they came to be, so that a layer that an older study left behind, or that was made from
tables that have changed since, is made again.
"""

from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from assets.checks import check_keys
from assets.stage import key
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study, layer_key, layer_of
from neuroscribe.study.stages import STAGES, Phase, Stage, layers_of, stages_of


@dataclass(frozen=True)
class Freshness:
    """What is up to date of one study in one instance and store, as of when it is first asked."""

    study: Study
    instance: dg.DagsterInstance
    tables: TableReader

    def captured(self) -> set[int]:
        """Return the layers whose statistics and records are all up to date, and blocked by no check."""
        return self._fresh("capture")

    def sampled(self) -> set[int]:
        """Return the layers whose sampled activations and token lookup are up to date."""
        return self._fresh("sample")

    def explained(self) -> set[int]:
        """Return the layers that are explained, simulated and scored, and blocked by no check.

        A layer with an LLM call that failed for good is not among them: it is worth asking again.
        """
        return self._fresh("explain")

    def stale_texts(self) -> list[str]:
        """Return the stages of the capture, not of single layers, whose tables are not up to date.

        With every layer captured, it is what a study has asked for since: another encoder of its text.
        """
        of_text = [stage for stage in self.stages if stage.phase == "capture" and not stage.per_layer]
        return [stage.name for stage in of_text if not self._lineage.is_current(self.study, stage.name, None)]

    def out_of_date(self, stage: str) -> set[int | None]:
        """Return the layers of a stage that are to be made; None stands for a stage that is of no layer.

        A published dataset is out of date with nobody but who publishes it.
        """
        if STAGES[stage].phase == "publish":
            return set()
        if STAGES[stage].per_layer:
            return {layer for layer in layers_of(self.study, stage) if layer not in self._up_to_date(stage)}
        known = self.instance.get_latest_materialization_event(key(self.study, stage)) is not None
        return set() if known and self._lineage.is_current(self.study, stage, None) else {None}

    @cached_property
    def stages(self) -> list[Stage]:
        """The study's stages, in order."""
        return [STAGES[name] for name in stages_of(self.study)]

    def _fresh(self, phase: Phase) -> set[int]:
        stages = [stage.name for stage in self.stages if stage.phase == phase and stage.per_layer]
        return set[int].intersection(*(self._up_to_date(stage) for stage in stages))

    def _up_to_date(self, stage: str) -> set[int]:
        """Return the layers of a stage that need not be made."""
        if stage not in self._known:
            self._known[stage] = self._found(stage)
        return self._known[stage]

    def _found(self, stage: str) -> set[int]:
        keys = self.instance.get_materialized_partitions(key(self.study, stage))
        known = {layer_of(partition) for partition in keys} & {*layers_of(self.study, stage)}
        fresh = {layer for layer in known if self._lineage.is_current(self.study, stage, layer)}
        if STAGES[stage].asks:
            fresh = {layer for layer in fresh if not self._has_failed_calls(stage, layer)}
        return fresh - self._blocked(stage, fresh)

    @cached_property
    def _known(self) -> dict[str, set[int]]:
        """What has been found up to date so far, by stage."""
        return {}

    @cached_property
    def _lineage(self) -> Lineage:
        return Lineage(self.study.name, self.tables)

    def _has_failed_calls(self, stage: str, layer: int) -> bool:
        frames = [self.tables.read(self.study.name, table.name, layer) for table in STAGES[stage].tables]
        return any(((frame["status"] == "failed") & (frame["model"] != "none")).any() for frame in frames)

    def _blocked(self, stage: str, layers: set[int]) -> set[int]:
        """Return the layers on whose results of a stage the last evaluation of a blocking check failed."""
        found = self.instance.event_log_storage.get_asset_check_partition_info(
            check_keys(self.study, stage, severity="error"),
            partition_keys=[layer_key(layer) for layer in sorted(layers)],
        )
        failed = [each for each in found if each.latest_execution_status.value == "FAILED"]
        return {layer_of(each.partition_key) for each in failed if each.partition_key}
