"""Sentences: written from the explanations, and run through the subject to see whether the neurons fire."""

import asyncio
from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.evidence import evidence_by_layer
from assets.layers import OfLayer
from assets.stage import provider_kind, stage
from neuroscribe.ports.sources import LLMSource, SubjectSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study


def sentences(study: Study) -> dg.AssetsDefinition:
    """Return the asset `sentences` of a study that names a writing scorer."""

    @stage(
        study,
        "sentences",
        description="Sentences written from each explanation by a language model, or its own phrases in"
        " neutral ones, and the neuron's peak in each; other neurons' sentences are the controls.",
        kinds={provider_kind(study.simulating_llm), "pytorch", "polars"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        llm: dg.ResourceParam[LLMSource],
        subject: dg.ResourceParam[SubjectSource],
        calls: dg.ResourceParam[CallStore],
        progress: dg.ResourceParam[Progress],
        **inputs: Any,
    ) -> Iterator[OfLayer]:
        from neuroscribe.report.tallies import sentence_tally
        from neuroscribe.write.stage import written_layer

        for evidence in evidence_by_layer(study, context, inputs):
            frame = asyncio.run(
                written_layer(evidence, llm=llm, subjects=subject, calls=calls, progress=progress)
            )
            yield OfLayer(evidence.layer, frame, sentence_tally(frame))

    return asset
