"""Simulations: activations predicted from the explanations alone."""

import asyncio
from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.evidence import evidence_by_layer
from assets.layers import OfLayer
from assets.stage import provider_kind, stage
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study


def simulations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `simulations` of a study."""

    @stage(
        study,
        "simulations",
        description="Each explanation simulated on sequences of documents that its explainer never saw,"
        " drawn by strata, and on other neurons' as a control.",
        kinds={provider_kind(study.simulating_llm), "polars"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        llm: dg.ResourceParam[LLMSource],
        encoders: dg.ResourceParam[EncoderSource],
        calls: dg.ResourceParam[CallStore],
        progress: dg.ResourceParam[Progress],
        **inputs: Any,
    ) -> Iterator[OfLayer]:
        from neuroscribe.report.tallies import simulation_tally
        from neuroscribe.simulate.stage import simulated_layer

        for evidence in evidence_by_layer(study, context, inputs):
            frame = asyncio.run(
                simulated_layer(evidence, llm=llm, encoders=encoders, calls=calls, progress=progress)
            )
            yield OfLayer(evidence.layer, frame, simulation_tally(frame))

    return asset
