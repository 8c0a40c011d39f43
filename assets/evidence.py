"""What an asset's inputs tell of each layer of its run."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from neuroscribe.study.spec import Study, layer_key
from neuroscribe.study.stages import STAGES

if TYPE_CHECKING:
    from neuroscribe.evidence.layer import LayerEvidence


def evidence_by_layer(
    study: Study, context: dg.AssetExecutionContext, inputs: Mapping[str, Mapping[str, pl.DataFrame]]
) -> "Iterator[LayerEvidence]":
    """Yield what an asset's inputs, by stage, tell of each layer of the run, one after the other."""
    from neuroscribe.evidence.layer import LayerEvidence

    for layer in selected_layers(context):
        tables: dict[str, pl.DataFrame] = {}
        for name, frames in inputs.items():
            is_of_layer = STAGES[name].per_layer
            tables |= {STAGES[name].tables[0].name: frames[layer_key(layer)]} if is_of_layer else frames
        yield LayerEvidence(study, layer, tables)
