"""Predictability: how well its tokens alone predict each neuron, to find some that a person recognises."""

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from assets.stage import stage
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
        corpus: dict[str, pl.DataFrame],
        activations: dict[str, pl.DataFrame],
        neuron_records: dict[str, pl.DataFrame],
    ) -> dg.MaterializeResult:
        from neuroscribe.capture.predictability import predictability as told
        from neuroscribe.evidence.sample import recognisable_neurons

        sequences, layers = corpus["corpus/sequences"], selected_layers(context)
        frames = {
            layer: told(neuron_records[layer_key(layer)], sequences, layer, study.polarities)
            for layer in layers
        }
        drawn = [
            recognisable_neurons(study, layer, activations[layer_key(layer)], frames[layer])
            for layer in layers
        ]
        return dg.MaterializeResult(
            value={layer_key(layer): frame for layer, frame in frames.items()},
            metadata={
                "rows": sum(len(frame) for frame in frames.values()),
                "recognisable": sum(len({neuron for neuron, _ in sides}) for sides in drawn),
            },
        )

    return asset
