"""Simulations: activations predicted from the explanations alone."""

import asyncio

import dagster as dg
import polars as pl

from assets.stage import LLM_RETRIES, ins, per_layer, plain_failures, stage
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study

_LINEAGE = {
    "explanation_id": (("explanations", "explanation_id"),),
    "sequence_id": (("neuron_records", "sequence_id"),),
    "split": (("neuron_records", "split"),),
    "simulated": (("explanations", "text"), ("corpus", "token_ids")),
}


def simulations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `simulations` of a study."""

    @stage(
        study,
        "simulations",
        description="Each explanation simulated on sequences its explainer never saw, and on another"
        " neuron's as"
        " the control.",
        kinds={study.simulating_llm.provider if study.simulating_llm.served else "huggingface", "polars"},
        tables=("simulations",),
        lineage=_LINEAGE,
        pool="llm",
        ins=ins(study, "corpus", "neuron_records", "explanations"),
        **per_layer(study, one_run=False),
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
        from neuroscribe.report.tallies import simulation_tally
        from neuroscribe.simulate.simulators import simulated_layer
        from neuroscribe.simulate.stage import SimulatedTables

        tables = SimulatedTables(
            corpus["corpus/sequences"], corpus["corpus/vocabulary"], neuron_records, explanations
        )
        with plain_failures(retries=LLM_RETRIES):
            frame = asyncio.run(
                simulated_layer(study, tables, llm=llm, encoders=encoders, calls=calls, progress=progress)
            )
        return dg.MaterializeResult(value=frame, metadata=simulation_tally(frame))

    return asset
