"""Judgements: single excerpts held against the explanations, by an LLM or a sentence encoder."""

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


def judgements(study: Study) -> dg.AssetsDefinition:
    """Return the asset `judgements` of a study that names a judging scorer."""

    @stage(
        study,
        "judgements",
        description="Each explanation held against firing and silent excerpts that its explainer never saw,"
        " and against another neuron's as the control; answers that cannot be read are rows too.",
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
        from neuroscribe.judge.stage import judged_layer
        from neuroscribe.report.tallies import judgement_tally

        for evidence in evidence_by_layer(study, context, inputs):
            frame = asyncio.run(
                judged_layer(evidence, llm=llm, encoders=encoders, calls=calls, progress=progress)
            )
            yield OfLayer(evidence.layer, frame, judgement_tally(frame))

    return asset
