"""Layers of a study that look done, for tests of what is up to date and of what is asked for."""

from pathlib import Path
from typing import Any

import dagster as dg

from assets.partitions import partitions_of
from assets.stage import key
from dagster_project.environments import Environment
from dagster_project.freshness import Freshness
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study, layer_key
from neuroscribe.study.stages import STAGES, provenance, stages_of
from neuroscribe.tables.records import SIMULATIONS
from neuroscribe.testing.rows import explanation_row, row
from resources.store.tables import Tables


class Bench:
    """A store and an instance in which single layers of a study can be made to look done."""

    def __init__(self, study: Study, folder: Path, instance: dg.DagsterInstance) -> None:
        self.study, self.instance = study, instance
        self.environment = Environment.read({"NEUROSCRIBE_STORE": str(folder)})
        self.tables = Tables(str(folder))

    @property
    def freshness(self) -> Freshness:
        """What is up to date now."""
        return Freshness(self.study, self.instance, self.tables)

    def stages(self, phase: str) -> tuple[str, ...]:
        """The study's stages of a phase whose results are layers'."""
        own = (STAGES[name] for name in stages_of(self.study))
        return tuple(stage.name for stage in own if stage.per_layer and stage.phase == phase)

    def done(self, stages: tuple[str, ...], layers: list[int], *, by: Study | None = None) -> None:
        """Write the tables of some stages and layers as a study would, and tell Dagster."""
        if not self.tables.exists(self.study.name, "corpus/sequences"):
            self.texts()
        for stage in stages:
            for layer in layers:
                self.written(stage, layer, by=by)
                event = dg.AssetMaterialization(asset_key=key(self.study, stage), partition=layer_key(layer))
                self.instance.report_runless_asset_event(event)

    def written(self, stage: str, layer: int | None, *rows: dict[str, Any], by: Study | None = None) -> None:
        """Write a stage's tables, with their stamps."""
        inputs = Lineage(self.study.name, self.tables).inputs(stage, layer)
        for table in STAGES[stage].tables:
            facts = provenance(by or self.study, stage) | {"inputs": inputs}
            self.tables.write(table.frame(list(rows)), self.study.name, table.name, layer, provenance=facts)

    def explained(self, layer: int, *, status: str, model: str) -> None:
        """Write a layer's explanations anew: one, with this status, by this model."""
        row = explanation_row(layer=layer, status=status, explainer="highlights", model=model)
        self.written("explanations", layer, row)

    def simulated(self, layer: int, *, status: str) -> None:
        """Write a layer's simulations anew: one, with this status."""
        self.written("simulations", layer, row(SIMULATIONS, simulated=[0.0], status=status, model="qwen"))

    def checked(self, layer: int, *, passed: bool) -> None:
        """Score a layer in a run of Dagster's whose one check comes out so."""
        layers = partitions_of(self.study, "scores")

        @dg.asset(key=key(self.study, "scores"), partitions_def=layers)
        def scores() -> None: ...

        @dg.asset_check(asset=scores, name="value_in_range", partitions_def=layers, blocking=True)
        def check() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=passed)

        defs = dg.Definitions(assets=[scores], asset_checks=[check], jobs=[dg.define_asset_job("score")])
        defs.resolve_job_def("score").execute_in_process(
            instance=self.instance, partition_key=layer_key(layer), raise_on_error=False
        )

    def texts(self) -> None:
        """Write what is of no layer, and tell Dagster."""
        for stage in ("corpus", "encoded_corpus"):
            self.written(stage, None)
            self.instance.report_runless_asset_event(dg.AssetMaterialization(key(self.study, stage)))
