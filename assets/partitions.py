"""One partition per layer of a study's subject."""

import dagster as dg

from neuroscribe.study.spec import Study, layer_key, layer_of
from neuroscribe.study.stages import STAGES


def layer_partitions(study: Study) -> dg.StaticPartitionsDefinition:
    """Return the partitions `layer_00` to the subject's last layer."""
    return dg.StaticPartitionsDefinition([layer_key(layer) for layer in range(study.subject.layers)])


def stage_partitions(study: Study, stage: str) -> dg.StaticPartitionsDefinition | None:
    """Return the partitions of a stage's asset and of the checks on it; None where it has no layers."""
    return layer_partitions(study) if STAGES[stage].per_layer else None


def selected_layers(context: dg.AssetExecutionContext) -> list[int]:
    """Return the layers of this run, one or a range, ascending."""
    return sorted(layer_of(key) for key in context.partition_keys)
