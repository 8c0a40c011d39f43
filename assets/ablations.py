"""Ablations: the subject run with neurons replaced by what the explanations let one predict."""

import asyncio
from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.evidence import evidence_by_layer
from assets.layers import OfLayer
from assets.stage import stage
from neuroscribe.ports.sources import SubjectSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study


def ablations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `ablations` of a study that names an ablation scorer."""

    @stage(
        study,
        "ablations",
        description="Divergence of the subject's predictions when a neuron is replaced by its calibrated"
        " simulation, and by its mean, on the sequences by which it is scored.",
        kinds={"pytorch", "polars"},
        pool="gpu",
    )
    def asset(
        context: dg.AssetExecutionContext,
        subject: dg.ResourceParam[SubjectSource],
        calls: dg.ResourceParam[CallStore],
        progress: dg.ResourceParam[Progress],
        **inputs: Any,
    ) -> Iterator[OfLayer]:
        from neuroscribe.ablate.stage import ablated_layer

        model = subject.open(study.subject, progress=progress)
        for evidence in evidence_by_layer(study, context, inputs):
            frame = asyncio.run(ablated_layer(evidence, subject=model, calls=calls, progress=progress))
            facts = {"ablations": len(frame), "sequences": frame["sequence_id"].n_unique()}
            yield OfLayer(evidence.layer, frame, {**facts, "device": str(model.device)})

    return asset
