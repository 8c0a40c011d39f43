"""Neuron records: the exemplars of every neuron, with their splits."""

from collections.abc import Iterator, Mapping

import dagster as dg
import polars as pl

from assets.layers import OfLayer
from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.stores import TensorStore
from neuroscribe.study.spec import Study


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
        corpus: Mapping[str, pl.DataFrame],
        tensors: dg.ResourceParam[TensorStore],
    ) -> Iterator[OfLayer]:
        from neuroscribe.capture.stage import layer_records
        from neuroscribe.report.pictures import exemplar_preview
        from neuroscribe.text.corpus import TokenBytes

        sequences = corpus["corpus/sequences"]
        tokens = TokenBytes(sequences, corpus["corpus/vocabulary"])
        for layer in selected_layers(context):
            frame = layer_records(study, layer, sequences, tensors)
            preview = dg.MetadataValue.md(exemplar_preview(frame, tokens))
            yield OfLayer(layer, frame, {"exemplars": len(frame), "preview": preview})

    return asset
