"""The nightly schedules: what is missing of a study is filled in, and nothing is done twice."""

from collections.abc import Container, Iterator, Mapping, Sequence

import dagster as dg

from assets.stage import key
from dagster_project.freshness import Freshness
from dagster_project.jobs import AssetJob
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.spec import Study, layer_key


def nightly(study: Study, jobs: Mapping[str, AssetJob]) -> list[dg.ScheduleDefinition]:
    """Return a study's schedules, stopped until a user starts them.

    They capture at 1, sample at half past 1 and explain at 2 o'clock.
    """
    each = {"capture": _capture, "sample": _sample, "explain": _explain}
    return [schedule(study, jobs[name]) for name, schedule in each.items()]


def _capture(study: Study, job: AssetJob) -> dg.ScheduleDefinition:
    @dg.schedule(
        job=job,
        name=f"{study.name}_capture_nightly",
        cron_schedule="0 1 * * *",
        description="Captures layers that are missing or of an older study, each contiguous span in one run.",
    )
    def capture(
        context: dg.ScheduleEvaluationContext, tables: dg.ResourceParam[TableReader]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        freshness = Freshness(study, context.instance, tables)
        done = freshness.captured()
        missing = [layer for layer in range(study.subject.layers) if layer not in done]
        if not missing and (stale := freshness.stale_texts()):
            only = [key(study, stage) for stage in stale]
            yield dg.RunRequest(run_key=_run_key(context, ", ".join(stale)), asset_selection=only)
        elif not missing:
            yield dg.SkipReason(f"all {study.subject.layers} layers of {study.name} are captured")
        for first, last in spans(missing):
            yield dg.RunRequest(run_key=_run_key(context, f"{first}-{last}"), tags=span_tags(first, last))

    return capture


def _sample(study: Study, job: AssetJob) -> dg.ScheduleDefinition:
    @dg.schedule(
        job=job,
        name=f"{study.name}_sample_nightly",
        cron_schedule="30 1 * * *",
        description="Keeps the sampled neurons' activations of captured layers, each span in one run.",
    )
    def sample(
        context: dg.ScheduleEvaluationContext, tables: dg.ResourceParam[TableReader]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        freshness = Freshness(study, context.instance, tables)
        captured = freshness.captured()
        wanted = captured - freshness.sampled()
        missing = [layer for layer in study.sampled_layers if layer in wanted]
        if not missing:
            yield dg.SkipReason(f"no captured layer of {study.name}'s sample lacks its activations")
        for first, last in spans(missing, across=captured):
            yield dg.RunRequest(run_key=_run_key(context, f"{first}-{last}"), tags=span_tags(first, last))

    return sample


def _explain(study: Study, job: AssetJob) -> dg.ScheduleDefinition:
    @dg.schedule(
        job=job,
        name=f"{study.name}_explain_nightly",
        cron_schedule="0 2 * * *",
        description="Explains and scores every layer of the sample whose activations are there, a run each.",
    )
    def explain(
        context: dg.ScheduleEvaluationContext, tables: dg.ResourceParam[TableReader]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        freshness = Freshness(study, context.instance, tables)
        wanted = (freshness.captured() & freshness.sampled()) - freshness.explained()
        missing = [layer for layer in study.sampled_layers if layer in wanted]
        if not missing:
            yield dg.SkipReason(f"no captured layer of {study.name}'s sample lacks scores")
        for layer in missing:
            yield dg.RunRequest(run_key=_run_key(context, str(layer)), partition_key=layer_key(layer))

    return explain


def spans(layers: Sequence[int], *, across: Container[int] = ()) -> list[tuple[int, int]]:
    """Return the contiguous spans of ascending layers, as (first, last); they may lead `across` others."""
    found: list[tuple[int, int]] = []
    for layer in layers:
        if found and all(between in across for between in range(found[-1][1] + 1, layer)):
            found[-1] = (found[-1][0], layer)
        else:
            found.append((layer, layer))
    return found


def span_tags(first: int, last: int) -> dict[str, str]:
    """Return the tags of a run over the layers from `first` to `last`."""
    return {
        "dagster/asset_partition_range_start": layer_key(first),
        "dagster/asset_partition_range_end": layer_key(last),
    }


def _run_key(context: dg.ScheduleEvaluationContext, what: str) -> str:
    """Name a night's request: a layer that failed is tried again the next night."""
    return f"{context.scheduled_execution_time:%Y-%m-%d} {what}"
