"""One partition per layer: of the subject while it is captured, of the sample from then on."""

import dagster as dg

from neuroscribe.study.spec import Study, layer_key, layer_of
from neuroscribe.study.stages import layers_of

TOGETHER = "neuroscribe/layers"
"""Tag of runs over ranges of layers: all layers, as in `0,5,9`, that they are launched for together."""


def partitions_of(study: Study, stage: str) -> dg.StaticPartitionsDefinition | None:
    """Return the partitions of a stage's asset, `layer_00` ...; None for one whose results are of no layer.

    Layers of which the study samples nothing are no partitions of what explains: "Materialize all" would ask,
    and pay, for them, and a finished study would look unfinished.
    """
    layers = layers_of(study, stage)
    return dg.StaticPartitionsDefinition([layer_key(layer) for layer in layers]) if layers else None


def selected_layers(context: dg.AssetExecutionContext) -> list[int]:
    """Return the layers of this run, one or a range, ascending."""
    return sorted(layer_of(key) for key in context.partition_keys)


def layers_of_backfill(context: dg.AssetExecutionContext) -> list[int]:
    """Return all layers for which the backfill behind a run asks its asset, ascending; none without one.

    Dagster cuts a backfill of scattered layers into a run for each contiguous range.
    """
    name = context.run.tags.get("dagster/backfill")
    backfill = context.instance.get_backfill(name) if name else None
    asked = backfill.asset_backfill_data if backfill else None
    if asked is None:
        return _tagged(context)
    subset = asked.target_subset.get_partitions_subset(context.asset_key)
    return sorted(layer_of(key) for key in subset.get_partition_keys())


def _tagged(context: dg.AssetExecutionContext) -> list[int]:
    """Return the layers that who launched a run without a backfill asks for in all."""
    return [int(layer) for layer in context.run.tags.get(TOGETHER, "").split(",") if layer]
