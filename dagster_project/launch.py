"""Launches a study's jobs in this process, one Dagster run at a time, leaving out what is up to date."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets.layers import PENDING
from assets.partitions import TOGETHER
from assets.stage import key
from dagster_project.alone import LAUNCHER
from dagster_project.automation import STUDY
from dagster_project.environments import Environment
from dagster_project.freshness import Freshness
from neuroscribe.errors import BatchPendingError, NeuroscribeError
from neuroscribe.study.spec import Study, layer_key
from resources.store.tables import Tables

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(NeuroscribeError):
    """A Dagster run ended without success; the message is what its failed step said."""


class Launcher:
    """Runs the jobs of one study against one instance."""

    def __init__(
        self, study: Study, defs: dg.Definitions, instance: dg.DagsterInstance, environment: Environment
    ) -> None:
        self._study = study
        self._defs = defs
        self._instance = instance
        self._tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
        self.seconds: dict[int, float] = {}
        """Wall time per layer explained in this process."""

    def capture(self) -> None:
        """Capture every layer that is not up to date, in one pass of the corpus.

        Dagster needs a run for each contiguous span; the first captures all, and the others find theirs done.
        What the study does not pin may have changed since, and only loading it tells: then every layer is
        asked for, and the capture itself leaves out what it has of the same weights and text.
        """
        done = self._freshness.captured() if self._study.pins_capture else set[int]()
        missing = [layer for layer in range(self._study.subject.layers) if layer not in done]
        together = {TOGETHER: ",".join(map(str, missing))}
        for first, last in spans(missing):
            self._run("capture", tags=span_tags(first, last) | together)
        if not missing and (stale := self._freshness.stale_texts()):
            self.capture_texts(stale)

    def capture_texts(self, stages: Sequence[str]) -> None:
        """Make these stages of the capture, none of which is of single layers, and nothing else."""
        self._run("capture", only=stages)

    def sample(self, layers: Sequence[int]) -> None:
        """Keep all activations of the sampled neurons of these layers, unless that is up to date.

        One pass does it, for which Dagster needs a span of layers: those of the sample between are kept anew.
        """
        done = self._freshness.sampled() if self._study.pins_capture else set[int]()
        if missing := [layer for layer in layers if layer not in done]:
            self._run("sample", tags=span_tags(min(missing), max(missing)))

    def explain(self, layer: int) -> None:
        """Explain, simulate, score and check one layer, unless that is up to date."""
        if not (self._study.pins_all and layer in self._freshness.explained()):
            started = time.monotonic()
            self._run("explain", partition_key=layer_key(layer))
            self.seconds[layer] = time.monotonic() - started

    def explain_all(self, layers: Sequence[int]) -> None:
        """Do so with several layers; one whose answers are in a batch job does not hold up the others.

        Raises BatchPendingError after the last.
        """
        pending: list[str] = []
        for layer in layers:
            try:
                self.explain(layer)
            except BatchPendingError as error:
                pending.append(str(error))
        if pending:
            raise BatchPendingError("\n".join(dict.fromkeys(pending)))

    def publish(self) -> None:
        """Publish the dataset."""
        self._run("publish")

    @property
    def _freshness(self) -> Freshness:
        """What is up to date now."""
        return Freshness(self._study, self._instance, self._tables)

    def _run(
        self,
        name: str,
        *,
        tags: dict[str, str] | None = None,
        partition_key: str | None = None,
        only: Sequence[str] | None = None,
    ) -> None:
        """Run a job, or of its assets `only` those."""
        job = self._defs.resolve_job_def(f"{self._study.name}_{name}")
        result = job.execute_in_process(
            instance=self._instance,
            tags={**(tags or {}), LAUNCHER: self._study.name, STUDY: self._study.name},
            partition_key=partition_key,
            asset_selection=None if only is None else [key(self._study, stage) for stage in only],
            raise_on_error=False,
            run_config=_QUIET,
        )
        if not result.success:
            kind = BatchPendingError if _is_pending(result.all_events) else RunFailedError
            raise kind(_reason(result.all_events, f"{self._study.name}_{name}"))


def spans(layers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the contiguous spans of ascending layers, as (first, last)."""
    found: list[tuple[int, int]] = []
    for layer in layers:
        if found and layer == found[-1][1] + 1:
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


def _is_pending(events: Sequence[dg.DagsterEvent]) -> bool:
    """Tell whether the first failed step waits for a batch job."""
    data = next((event.step_failure_data for event in events if event.is_step_failure), None)
    return bool(data and data.user_failure_data and PENDING in data.user_failure_data.metadata)


def _reason(events: Sequence[dg.DagsterEvent], job: str) -> str:
    """Return what the first failed step said, or which checks failed with what they found."""
    if checks := _failed_checks(events):
        return f"{job} fails its checks: {'; '.join(checks)}. See the failing rows in the UI (make ui)"
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            said = data.user_failure_data.description if data.user_failure_data else None
            return (
                said or f"{job}, step {event.step_key}: {cause(data.error)} (see the run in the UI: make ui)"
            )
        if event.event_type == dg.DagsterEventType.RUN_FAILURE:
            return f"{job}: {cause(event.job_failure_data.error)} (see the run in the UI: make ui)"
    return f"{job} failed; see the run in the UI (make ui)"


def cause(error: Any) -> str:
    """Return what a chain of errors says to a user, from the outside in: the first of ours, or the last."""
    said = "no error was recorded"
    while error is not None:
        said = error.message.strip()
        if ours := next((name for name in _our_errors(NeuroscribeError) if said.startswith(name)), None):
            return said.removeprefix(ours)
        error = error.cause
    return said


def _our_errors(base: type[NeuroscribeError]) -> Iterator[str]:
    """Yield how Dagster's record of an error begins, for each class of errors that a user can act on."""
    yield f"{base.__module__}.{base.__qualname__}: "
    for kind in base.__subclasses__():
        yield from _our_errors(kind)


def _failed_checks(events: Sequence[dg.DagsterEvent]) -> Sequence[str]:
    evaluations = [
        event.asset_check_evaluation_data
        for event in events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return [
        f"{evaluation.asset_key.path[-1]}{f', {place}' if (place := evaluation.partition) else ''}:"
        f" {evaluation.check_name} ({evaluation.description})"
        for evaluation in evaluations
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    ]
