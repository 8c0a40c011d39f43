"""Explanations: the sample's neurons put into words."""

import asyncio
from typing import Any

import dagster as dg

from assets.stage import layer_evidence, provider_kind, stage, table_metadata
from neuroscribe.ports.labels import LabelSource
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study

_NAMED = 100
"""Neurons set aside that are named one by one beside a materialisation; the counts are of all."""


def explanations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `explanations` of a study."""

    @stage(
        study,
        "explanations",
        description="Explanations by every explainer of the study, with prompt, reply, tokens and money;"
        " refusals and failures are rows too. Dead and near-dead neurons are set aside before any call.",
        kinds={provider_kind(study.llm), "polars"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        llm: dg.ResourceParam[LLMSource],
        encoders: dg.ResourceParam[EncoderSource],
        labels: dg.ResourceParam[LabelSource],
        calls: dg.ResourceParam[CallStore],
        progress: dg.ResourceParam[Progress],
        **inputs: Any,
    ) -> dg.MaterializeResult:
        from neuroscribe.explain.stage import explained_layer
        from neuroscribe.report.tallies import explanation_tally

        evidence = layer_evidence(study, context, inputs)
        frame = asyncio.run(
            explained_layer(
                evidence, llm=llm, encoders=encoders, calls=calls, progress=progress, labels=labels
            )
        )
        return dg.MaterializeResult(
            value=frame,
            metadata={
                **explanation_tally(frame, evidence.set_aside),
                "set_aside": table_metadata(evidence.set_aside.head(_NAMED)),
            },
        )

    return asset
