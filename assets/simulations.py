"""Simulations: activations predicted from the explanations alone."""

import asyncio

import dagster as dg
import polars as pl

from assets.stage import provider_kind, stage
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study


def simulations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `simulations` of a study."""

    @stage(
        study,
        "simulations",
        description="Each explanation simulated on sequences its explainer never saw, and on another"
        " neuron's as the control.",
        kinds={provider_kind(study.simulating_llm), "polars"},
    )
    def asset(
        corpus: dict[str, pl.DataFrame],
        neuron_records: pl.DataFrame,
        explanations: pl.DataFrame,
        llm: dg.ResourceParam[LLMSource],
        encoders: dg.ResourceParam[EncoderSource],
        calls: dg.ResourceParam[CallStore],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        from neuroscribe.simulate.simulators import simulated_layer

        from neuroscribe.report.tallies import simulation_tally
        from neuroscribe.simulate.stage import SimulatedTables

        tables = SimulatedTables(
            corpus["corpus/sequences"], corpus["corpus/vocabulary"], neuron_records, explanations
        )
        frame = asyncio.run(
            simulated_layer(study, tables, llm=llm, encoders=encoders, calls=calls, progress=progress)
        )
        return dg.MaterializeResult(value=frame, metadata=simulation_tally(frame))

    return asset
