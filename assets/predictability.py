"""Predictability: how well its tokens alone predict each neuron, to find some that a person recognises."""

from collections.abc import Iterator, Mapping

import dagster as dg
import polars as pl

from assets.layers import OfLayer
from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.frames import LayerFrames
from neuroscribe.study.spec import Study, layer_key


def predictability(study: Study) -> dg.AssetsDefinition:
    """Return the asset `predictability` of a study."""

    @stage(
        study,
        "predictability",
        description="How well the tokens alone predict every neuron on exemplars of other documents: the urn"
        " from which recognisable neurons are drawn.",
        kinds={"polars", "parquet"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        corpus: Mapping[str, pl.DataFrame],
        activations: LayerFrames,
        neuron_records: LayerFrames,
    ) -> Iterator[OfLayer]:
        from neuroscribe.capture.predictability import predictability as told
        from neuroscribe.evidence.sample import recognisable_neurons

        sequences = corpus["corpus/sequences"]
        for layer in selected_layers(context):
            frame = told(neuron_records[layer_key(layer)], sequences, layer, study.polarities)
            drawn = recognisable_neurons(study, layer, activations[layer_key(layer)], frame)
            yield OfLayer(
                layer, frame, {"rows": len(frame), "recognisable": len({neuron for neuron, _ in drawn})}
            )

    return asset
