"""Sampled activations: everything that the neurons of the sample do, in a second, small pass."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from assets.layers import OfLayer
from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.frames import LayerFrames
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
        corpus: Mapping[str, pl.DataFrame],
        activations: LayerFrames,
        subject: dg.ResourceParam[SubjectSource],
        progress: dg.ResourceParam[Progress],
        **inputs: Any,
    ) -> Iterator[OfLayer]:
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
        for layer, frame in frames.items():
            shown = {
                "neurons": frame["neuron"].n_unique(),
                "sequences": frame["sequence_id"].n_unique(),
                "subject": f"{model.name}@{model.revision}",
                "made_by": str(made),
                "device": str(model.device),
                "dtype": str(model.dtype),
            }
            yield OfLayer(layer, frame, shown, {"made_by": vars(made)})

    return asset


def _by_layer(found: Mapping[str, pl.DataFrame] | None, layers: Sequence[int]) -> dict[int, pl.DataFrame]:
    """Return frames by layer, none where the study lacks the stage."""
    return {} if found is None else {layer: found[layer_key(layer)] for layer in layers}
