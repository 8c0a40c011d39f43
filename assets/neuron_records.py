"""Neuron records: the exemplars of every neuron, with their splits."""

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.stores import TensorStore
from neuroscribe.study.spec import Study, layer_key


def neuron_records(study: Study) -> dg.AssetsDefinition:
    """Return the asset `neuron_records` of a study."""

    @stage(
        study,
        "neuron_records",
        description="Exemplars: the sequences where a neuron peaks, quantile bands, and shared random"
        " sequences; each document of a neuron's is in one split alone.",
        kinds={"polars", "parquet"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        corpus: dict[str, pl.DataFrame],
        tensors: dg.ResourceParam[TensorStore],
    ) -> dg.MaterializeResult:
        from neuroscribe.capture.stage import layer_records
        from neuroscribe.report.pictures import exemplar_preview
        from neuroscribe.text.corpus import TokenBytes

        sequences = corpus["corpus/sequences"]
        frames = {
            layer: layer_records(study, layer, sequences, tensors) for layer in selected_layers(context)
        }
        first = next(iter(frames.values()))
        tokens = TokenBytes(sequences, corpus["corpus/vocabulary"])
        return dg.MaterializeResult(
            value={layer_key(layer): frame for layer, frame in frames.items()},
            metadata={
                "exemplars": sum(len(frame) for frame in frames.values()),
                "preview": dg.MetadataValue.md(exemplar_preview(first, tokens)),
            },
        )

    return asset
