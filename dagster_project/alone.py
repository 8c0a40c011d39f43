"""One process per study and store: locks, and what processes leave behind that are killed while they run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
from filelock import Timeout

from dagster_project.environments import Environment
from neuroscribe.errors import StudyError
from neuroscribe.study.spec import Study
from resources.store.files import store_errors
from resources.store.locks import ends_with_process, holder, locked

LAUNCHER = "neuroscribe/launcher"
"""Tag of the runs that this package launches itself; its value is the study."""
_RUNNING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@contextmanager
def study_alone(study: Study, environment: Environment) -> Iterator[None]:
    """Keep other processes from running a study from the same instance, or into the same local store.

    On S3 there is no lock: one process per study and store is the user's to see to.
    """
    folders = [environment.dagster_home]
    if "://" not in environment.store:
        folders.append(Path(environment.store))
    with ExitStack() as stack:
        for folder in folders:
            try:
                stack.enter_context(locked(_lock(folder, study.name)))
            except Timeout as taken:
                raise StudyError(_in_use(study.name, folder, taken)) from None
            except OSError:
                with store_errors(_lock(folder, study.name), "locked"):
                    raise
        yield


def close_runs_of_dead_processes(home: Path, instance: dg.DagsterInstance) -> None:
    """Close what killed processes left of other studies, whose place in a pool would be held for ever."""
    running = instance.get_runs(dg.RunsFilter(statuses=_RUNNING))
    for name in {run.tags[LAUNCHER] for run in running if LAUNCHER in run.tags}:
        try:
            with locked(_lock(home, name)):
                close_abandoned_runs(name, instance)
        except Timeout:
            continue  # its process is alive


def close_abandoned_runs(study: str, instance: dg.DagsterInstance) -> None:
    """Mark runs of a study that a killed process left behind as failed, and free what they hold.

    Only for a process that holds the study's lock. A run that the UI re-executes carries its parent's tags,
    and is left alone.
    """
    for run in instance.get_runs(dg.RunsFilter(tags={LAUNCHER: study}, statuses=_RUNNING)):
        if run.parent_run_id is None:
            instance.report_run_failed(run, "the process that ran it is gone")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _lock(folder: Path, study: str) -> Path:
    return folder / f".{study}.lock"


def _in_use(study: str, folder: Path, taken: Timeout) -> str:
    """Return what to do while another process holds the lock of a study."""
    remedy = (
        "wait for it, or stop it: the next run continues where it ended"
        if ends_with_process(taken)
        else "the disk has no locks that end with their process: if that one is gone, remove"
        f" {taken.lock_file}; the next run continues where it ended"
    )
    return f"study {study} is being run from {folder} by another process, {holder(taken)}; {remedy}"
