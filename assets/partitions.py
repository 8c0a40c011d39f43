"""One partition per layer of a study's subject."""

import dagster as dg

from neuroscribe.study.spec import Study, layer_key, layer_of


def layer_partitions(study: Study) -> dg.StaticPartitionsDefinition:
    """Return the partitions `layer_00` to the subject's last layer."""
    return dg.StaticPartitionsDefinition([layer_key(layer) for layer in range(study.subject.layers)])


def selected_layers(context: dg.AssetExecutionContext) -> list[int]:
    """Return the layers of this run, one or a range, ascending."""
    return sorted(layer_of(key) for key in context.partition_keys)
