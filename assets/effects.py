"""Effects: what the sampled neurons do to the next token."""

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


def effects(study: Study) -> dg.AssetsDefinition:
    """Return the asset `effects` of a study with an explainer or scorer of the output half."""

    @stage(
        study,
        "effects",
        description="What the subject predicts and says with each sampled neuron held at a large activation:"
        " the tokens that become likelier and less likely, and continuations of openings of the corpus.",
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
        from neuroscribe.effect.stage import layer_effects
        from neuroscribe.report.tallies import effect_tally

        model = subject.open(study.subject, progress=progress)
        for evidence in evidence_by_layer(study, context, inputs):
            frame = asyncio.run(layer_effects(evidence, subject=model, calls=calls, progress=progress))
            yield OfLayer(evidence.layer, frame, effect_tally(frame) | {"device": str(model.device)})

    return asset
