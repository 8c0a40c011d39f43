"""The main job from one command: capture, explain, score and publish a study, then say what was found.

    python -m dagster_project.run [study]

Every run is a Dagster run in the instance that `make ui` shows. What is there already and still belongs to
the study as it stands is not done again, so that a run that was killed continues.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event, Thread
from typing import Any, TextIO, TypeVar

import dagster as dg
import polars as pl
from rich.console import Console

from assets.standing import standing
from dagster_project.alone import close_abandoned_runs, close_runs_of_dead_processes, study_alone
from dagster_project.build import build_defs
from dagster_project.command import Variables, chosen, status, study_parser, width
from dagster_project.environments import Environment
from dagster_project.history import history
from dagster_project.launch import Launcher
from dagster_project.outcome import outcome
from dagster_project.rehearsal import rehearse
from neuroscribe.capture import check_size
from neuroscribe.capture.plan import random_sequences
from neuroscribe.errors import BatchPendingError
from neuroscribe.explain.stage import opened_labels
from neuroscribe.report.checks import warning_lines
from neuroscribe.simulate.stage import check_models
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study
from resources.store.files import WRITE_CHECK, Files
from resources.store.tables import Tables

T = TypeVar("T")
STOPPED = 130
"""Exit status of a run that the user stopped, as of a program that SIGINT ends."""


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Run a study; returns 0, 1 after one message about what went wrong, or STOPPED."""
    layers = "explain these of the study's sampled layers alone, as in 0,6,12"
    command = study_parser("run", __doc__, layers=layers, default="embedded")
    command.add_argument("--ephemeral", action="store_true", help="leave no history in Dagster's instance")
    options = command.parse_args(arguments)

    def work(environment: Environment) -> None:
        study, named = chosen(options, environment)
        sampled = study.sampled_layers if named is None else named
        run(study, environment, layers=sampled, ephemeral=options.ephemeral)

    with _kept_open(sys.stderr) as errors:
        try:
            return status(work, variables)
        except KeyboardInterrupt:
            Console(file=errors).show_cursor()  # a progress bar hides it
            errors.write("\nstopped; the same command continues where this run ended\n")
            return STOPPED


def run(study: Study, environment: Environment, *, layers: Sequence[int], ephemeral: bool = False) -> None:
    """Bring a study up to date and print the report."""
    _write_line(f"study {study.name}: {study.description}")
    check_writable(environment)
    _say_what_is_scored_anew(study, environment, layers)
    preflight(study, environment.resources())
    alone = Event()
    try:
        seconds, checked = _in_thread(
            lambda: _brought_up_to_date(study, environment, layers, ephemeral=ephemeral, alone=alone)
        )
    except KeyboardInterrupt:
        if alone.is_set():
            with history(environment, ephemeral=ephemeral) as instance:
                close_abandoned_runs(study.name, instance)
        raise
    _write_line(outcome(study, environment, layers=layers, seconds=seconds))
    for line in warning_lines(checked, width()):
        _write_line(line)


def _say_what_is_scored_anew(study: Study, environment: Environment, layers: Sequence[int]) -> None:
    """Say why scores that are there will be made again."""
    lineage = Lineage(study.name, Tables(environment.store, endpoint_url=environment.endpoint_url))
    reasons: dict[str, list[int]] = {}
    for layer in layers:
        if reason := lineage.why_anew(study, "scores", layer):
            reasons.setdefault(reason, []).append(layer)
    for reason, stale in reasons.items():
        _write_line(f"scores of layers {', '.join(map(str, stale))} are made anew: {reason}")


def _brought_up_to_date(
    study: Study, environment: Environment, layers: Sequence[int], *, ephemeral: bool, alone: Event
) -> tuple[dict[int, float], pl.DataFrame]:
    """Run what is missing and return the seconds per layer explained, and how the checks stand (STANDING).

    `alone` is set while no other does.
    """
    defs = build_defs([study], environment=environment)
    with history(environment, ephemeral=ephemeral) as instance, study_alone(study, environment):
        alone.set()
        close_abandoned_runs(study.name, instance)
        close_runs_of_dead_processes(environment.dagster_home, instance)
        launcher = Launcher(study, defs, instance, environment)
        launcher.capture()
        launcher.sample(layers)
        if any(spec.batch for spec in (study.llm, study.simulating_llm, study.paraphraser_llm) if spec):
            _submit(study, instance, environment, layers)
        launcher.explain_all(layers)
        launcher.publish()
        return launcher.seconds, standing(study, instance)


def _submit(
    study: Study, instance: dg.DagsterInstance, environment: Environment, layers: Sequence[int]
) -> None:
    """Submit the batch jobs of all layers before any of them is waited for."""
    at_once = replace(environment, llm_batch_wait_minutes=0)
    with suppress(BatchPendingError):
        Launcher(study, build_defs([study], environment=at_once), instance, at_once).explain_all(layers)


def _in_thread(work: Callable[[], T]) -> T:
    """Work in a thread, so that Ctrl-C ends the wait for it at once.

    In the main thread Dagster holds interrupts back and drops those that come between steps.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=run, daemon=True).start()
    return result.result()


def check_writable(environment: Environment) -> None:
    """Raise StoreError if nothing can be written where tables and tensors go."""
    files = Files(environment.store, endpoint_url=environment.endpoint_url)
    files.write(WRITE_CHECK, b"")
    files.remove(WRITE_CHECK)


def preflight(study: Study, resources: dict[str, Any]) -> None:
    """Fail on what can be known beforehand: too small a corpus, missing models or text, a wrong key ..."""
    resources["subject"].units(study.subject)
    random_sequences(study)  # refuses a corpus that holds fewer than are kept of it
    progress = resources["progress"]
    resources["texts"].open(study.corpus, progress=progress)
    opened_labels(study, resources["labels"])
    rehearse(study, resources["expectations"], resources["datasets"])
    check_size(study, resources["subject"].open(study.subject, progress=progress))
    models = {"llm": resources["llm"], "encoders": resources["encoders"]}
    asyncio.run(check_models(study, **models, progress=progress))


@contextmanager
def _kept_open(stream: TextIO) -> Iterator[TextIO]:
    """Give a way to where a stream leads now: Dagster leads it into a log while a step runs."""
    try:
        descriptor = os.dup(stream.fileno())
    except (OSError, ValueError):  # a stream in memory
        yield stream
        return
    with os.fdopen(descriptor, "w", encoding=stream.encoding, errors="backslashreplace") as own:
        yield own


def _write_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # A script's background jobs ignore SIGINT, and so would the log watchers that Dagster ends with it: every
    # step would take a minute more.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = main()
    if code == STOPPED:  # the thread at work cannot be ended otherwise; what it has finished is on disk
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
