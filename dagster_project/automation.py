"""The nightly schedules: what is missing of a study is filled in, and nothing is done twice."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from assets.stage import key
from dagster_project.jobs import AssetJob
from neuroscribe.studies import Study, layer_key, layer_of

_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"


def nightly(study: Study, jobs: Mapping[str, AssetJob]) -> list[dg.ScheduleDefinition]:
    """Return a study's schedules, stopped until a user starts them: capture at 1, explain at 2 o'clock."""

    @dg.schedule(
        job=jobs["capture"],
        name=f"{study.name}_capture_nightly",
        cron_schedule="0 1 * * *",
        description="Captures every layer that has no neuron records, each contiguous span in one run.",
    )
    def capture(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        done = _materialised(context, study, "neuron_records")
        missing = [layer for layer in range(study.subject.layers) if layer not in done]
        if not missing:
            yield dg.SkipReason(f"all {study.subject.layers} layers of {study.name} are captured")
        for first, last in spans(missing):
            tags = {_RANGE_START: layer_key(first), _RANGE_END: layer_key(last)}
            yield dg.RunRequest(run_key=_run_key(context, f"{first}-{last}"), tags=tags)

    @dg.schedule(
        job=jobs["explain"],
        name=f"{study.name}_explain_nightly",
        cron_schedule="0 2 * * *",
        description="Explains and scores every sampled layer that is captured but not scored, a run each.",
    )
    def explain(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        captured, done = (
            _materialised(context, study, "neuron_records"),
            _materialised(context, study, "scores"),
        )
        missing = [layer for layer in study.sampled_layers if layer in captured and layer not in done]
        if not missing:
            yield dg.SkipReason(f"no captured layer of {study.name}'s sample lacks scores")
        for layer in missing:
            yield dg.RunRequest(run_key=_run_key(context, str(layer)), partition_key=layer_key(layer))

    return [capture, explain]


def spans(layers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the contiguous spans of ascending layers, as (first, last)."""
    found: list[tuple[int, int]] = []
    for layer in layers:
        if found and found[-1][1] == layer - 1:
            found[-1] = (found[-1][0], layer)
        else:
            found.append((layer, layer))
    return found


def _materialised(context: dg.ScheduleEvaluationContext, study: Study, asset: str) -> set[int]:
    keys = context.instance.get_materialized_partitions(key(study, asset))
    return {layer_of(partition) for partition in keys}


def _run_key(context: dg.ScheduleEvaluationContext, what: str) -> str:
    """Name a night's request: a layer that failed is tried again the next night."""
    return f"{context.scheduled_execution_time:%Y-%m-%d} {what}"
