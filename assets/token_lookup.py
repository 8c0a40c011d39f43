"""Token lookup: mean activation per token, which explainers without excerpts are shown."""

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from assets.stage import stage
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
        corpus: dict[str, pl.DataFrame],
        sampled_activations: dict[str, pl.DataFrame],
    ) -> dg.MaterializeResult:
        from neuroscribe.capture.token_lookup import token_lookup as learned
        from neuroscribe.report.pictures import token_preview

        sequences, polarities = corpus["corpus/sequences"], study.polarities
        frames = {
            key: learned(sampled_activations[key], sequences, layer, polarities)
            for layer in selected_layers(context)
            for key in (layer_key(layer),)
        }
        return dg.MaterializeResult(
            value=frames,
            metadata={
                "rows": sum(len(frame) for frame in frames.values()),
                "preview": dg.MetadataValue.md(
                    token_preview(next(iter(frames.values())), corpus["corpus/vocabulary"])
                ),
            },
        )

    return asset
