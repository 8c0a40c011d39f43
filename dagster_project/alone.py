"""One process per study and store: locks, and what processes leave behind that are killed while they run."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import Timeout

from dagster_project.environments import Environment
from neuroscribe.study.spec import Study
from resources.store.locks import locked
from resources.store.study_locks import held, lock_name, no_step_writing

LAUNCHER = "neuroscribe/launcher"
"""Tag of the runs that this package launches itself; its value is the study."""
_SERVER = ".dagster/grpc_info"
"""Tag in which Dagster notes by which code server a run was launched."""
_RUNNING = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
_LAUNCHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextmanager
def study_alone(study: Study, environment: Environment) -> Iterator[None]:
    """Keep other processes from running a study from the same instance, or into the same store."""
    with alone(study.name, environment):
        yield


@contextmanager
def alone(name: str, environment: Environment) -> Iterator[None]:
    """Do the same for a study that may have no file any longer; raises StudyError while another runs it."""
    home = str(environment.dagster_home)
    with held(home, name), held(environment.store, name, endpoint_url=environment.endpoint_url):
        yield


@contextmanager
def at_rest(name: str, environment: Environment) -> Iterator[None]:
    """Do the same, and keep off the steps of runs that the page launched; raises StudyError for either."""
    place = environment.endpoint_url
    with alone(name, environment), no_step_writing(environment.store, name, endpoint_url=place):
        yield


def close_runs_of_dead_processes(home: Path, instance: dg.DagsterInstance) -> None:
    """Close what killed processes left of other studies, whose place in a pool would be held for ever."""
    running = instance.get_runs(dg.RunsFilter(statuses=_RUNNING))
    for name in {run.tags[LAUNCHER] for run in running if LAUNCHER in run.tags}:
        try:
            with locked(home / lock_name(name)):
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


def close_launched_runs(
    instance: dg.DagsterInstance, is_gone: Callable[[Mapping[str, object]], bool]
) -> Iterator[str]:
    """Mark as failed what code servers ran that are gone, free what it held, and yield the runs.

    Dagster would take such runs for running for ever, and keep others of their study waiting. Where the
    settings say so (`run_retries`), the daemon starts them anew.
    """
    for run in instance.get_runs(dg.RunsFilter(statuses=_LAUNCHED)):
        server = json.loads(run.tags.get(_SERVER, "{}"))
        if server and is_gone(server):
            instance.report_run_failed(run, "the code server that ran it ended before it")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            yield run.run_id
