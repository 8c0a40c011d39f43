"""Sampled activations: everything that the neurons of the sample do, in a second, small pass."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.sources import SubjectSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study, layer_key


def sampled_activations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `sampled_activations` of a study."""

    @stage(
        study,
        "sampled_activations",
        description="Every activation of the sampled neurons, which ceilings and scores rest on. However many"
        " layers a run selects, the corpus goes through the subject once, up to the deepest of them.",
        kinds={"pytorch", "huggingface"},
        pool="gpu",
    )
    def asset(
        context: dg.AssetExecutionContext,
        corpus: dict[str, pl.DataFrame],
        activations: dict[str, pl.DataFrame],
        subject: dg.ResourceParam[SubjectSource],
        progress: dg.ResourceParam[Progress],
        **inputs: Any,
    ) -> dg.MaterializeResult:
        from neuroscribe.capture.sampled import sampled_activations as kept
        from neuroscribe.subject.made_by import made_by

        model = subject.open(study.subject, progress=progress)
        made = made_by(model)
        layers = selected_layers(context)
        statistics = {layer: activations[layer_key(layer)] for layer in layers}
        predictability = _by_layer(inputs.get("predictability"), layers)
        frames = kept(
            study,
            model,
            corpus["corpus/sequences"],
            statistics,
            progress=progress,
            predictability=predictability,
        )
        return dg.MaterializeResult(
            value={layer_key(layer): frame for layer, frame in frames.items()},
            metadata={
                "neurons": sum(frame["neuron"].n_unique() for frame in frames.values()),
                "sequences": max(frame["sequence_id"].n_unique() for frame in frames.values()),
                "subject": f"{model.name}@{model.revision}",
                "made_by": str(made),
                "neuroscribe/provenance": {"made_by": vars(made)},
                "device": str(model.device),
                "dtype": str(model.dtype),
            },
        )

    return asset


def _by_layer(found: Any, layers: Sequence[int]) -> dict[int, pl.DataFrame]:
    """Return frames by layer: of a single layer it comes by itself, without the stage not at all."""
    if found is None:
        return {}
    frames = found if isinstance(found, dict) else {layer_key(layers[0]): found}
    return {layer: frames[layer_key(layer)] for layer in layers}
