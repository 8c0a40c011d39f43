"""Token lookup: mean activation per token, the direct baseline and the ceiling beside every score."""

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.stores import TensorStore
from neuroscribe.study.spec import Study, layer_key


def token_lookup(study: Study) -> dg.AssetsDefinition:
    """Return the asset `token_lookup` of a study."""

    @stage(
        study,
        "token_lookup",
        description="Mean activation per token and sampled neuron, held out from the sequences it is"
        " scored on.",
        kinds={"polars", "parquet"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        corpus: dict[str, pl.DataFrame],
        tensors: dg.ResourceParam[TensorStore],
    ) -> dg.MaterializeResult:
        from neuroscribe.capture.stage import layer_lookup
        from neuroscribe.report.pictures import token_preview

        sequences = corpus["corpus/sequences"]
        frames = {layer: layer_lookup(study, layer, sequences, tensors) for layer in selected_layers(context)}
        return dg.MaterializeResult(
            value={layer_key(layer): frame for layer, frame in frames.items()},
            metadata={
                "rows": sum(len(frame) for frame in frames.values()),
                "preview": dg.MetadataValue.md(
                    token_preview(next(iter(frames.values())), corpus["corpus/vocabulary"])
                ),
            },
        )

    return asset
