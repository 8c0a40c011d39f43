"""Token lookup: mean activation per token, which explainers without excerpts are shown."""

from collections.abc import Iterator, Mapping

import dagster as dg
import polars as pl

from assets.layers import OfLayer
from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.frames import LayerFrames
from neuroscribe.study.spec import Study, layer_key


def token_lookup(study: Study) -> dg.AssetsDefinition:
    """Return the asset `token_lookup` of a study."""

    @stage(
        study,
        "token_lookup",
        description="Mean activation per token and sampled neuron, over documents that are not held out.",
        kinds={"polars", "parquet"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        corpus: Mapping[str, pl.DataFrame],
        sampled_activations: LayerFrames,
    ) -> Iterator[OfLayer]:
        from neuroscribe.capture.token_lookup import token_lookup as learned
        from neuroscribe.report.pictures import token_preview

        sequences, polarities = corpus["corpus/sequences"], study.polarities
        for layer in selected_layers(context):
            frame = learned(sampled_activations[layer_key(layer)], sequences, layer, polarities)
            preview = dg.MetadataValue.md(token_preview(frame, corpus["corpus/vocabulary"]))
            yield OfLayer(layer, frame, {"rows": len(frame), "preview": preview})

    return asset
