"""Choices: which of several options is the one that is meant, by an LLM or a sentence encoder."""

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


def choices(study: Study) -> dg.AssetsDefinition:
    """Return the asset `choices` of a study that names a choosing scorer."""

    @stage(
        study,
        "choices",
        description="A judge's answers to the question which of several options is meant, with the same"
        " question under another neuron's explanation as the control; unreadable answers are rows too.",
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
        from neuroscribe.choose.stage import chosen_layer
        from neuroscribe.report.tallies import choice_tally

        for evidence in evidence_by_layer(study, context, inputs):
            frame = asyncio.run(
                chosen_layer(evidence, llm=llm, encoders=encoders, calls=calls, progress=progress)
            )
            yield OfLayer(evidence.layer, frame, choice_tally(frame))

    return asset
