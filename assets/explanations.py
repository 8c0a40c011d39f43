"""Explanations: the sample's neurons put into words."""

import asyncio
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from assets.evidence import evidence_by_layer
from assets.layers import OfLayer
from assets.stage import provider_kind, stage, table_metadata
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
    ) -> Iterator[OfLayer]:
        from neuroscribe.explain.stage import explained_layer
        from neuroscribe.report.explanation_page import explanation_page, explanation_rows
        from neuroscribe.report.tallies import explanation_tally

        models = {"llm": llm, "encoders": encoders, "labels": labels}
        for evidence in evidence_by_layer(study, context, inputs):
            frame = asyncio.run(explained_layer(evidence, calls=calls, progress=progress, **models))
            page = explanation_page(frame, evidence.tables["neuron_records"], evidence.tokens)
            shown = {
                **explanation_tally(frame, evidence.set_aside),
                "explained": table_metadata(explanation_rows(frame)),
                "shown": dg.MetadataValue.md(page),
                **set_aside_metadata(evidence.set_aside),
            }
            yield OfLayer(evidence.layer, frame, shown)

    return asset


def set_aside_metadata(set_aside: pl.DataFrame) -> dict[str, dg.MetadataValue]:
    """Return the first neurons that were set aside, if any."""
    return {"set_aside": table_metadata(set_aside.head(_NAMED))} if len(set_aside) else {}
