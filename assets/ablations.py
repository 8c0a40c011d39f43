"""Ablations: the subject run with neurons replaced by what the explanations let one predict."""

import asyncio
from typing import Any

import dagster as dg

from assets.stage import layer_evidence, stage
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
    ) -> dg.MaterializeResult:
        from neuroscribe.ablate.stage import ablated_layer

        evidence = layer_evidence(study, context, inputs)
        model = subject.open(study.subject, progress=progress)
        frame = asyncio.run(ablated_layer(evidence, subject=model, calls=calls, progress=progress))
        return dg.MaterializeResult(
            value=frame,
            metadata={
                "ablations": len(frame),
                "sequences": frame["sequence_id"].n_unique(),
                "device": str(model.device),
            },
        )

    return asset
