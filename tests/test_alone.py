"""One process per study and store, and what killed processes leave."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from dagster_project.alone import LAUNCHER, close_runs_of_dead_processes, study_alone
from dagster_project.environments import ROOT, Environment
from neuroscribe.errors import StudyError
from neuroscribe.kinds import read_study

STUDY = read_study(ROOT / "studies" / "embedded.toml")


def _environment(folder: Path, *, home: str) -> Environment:
    (folder / home).mkdir(exist_ok=True)
    (folder / "store").mkdir(exist_ok=True)
    return Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "DAGSTER_HOME": str(folder / home)})


def _elsewhere(work: Callable[[], object]) -> None:
    """Do something where the locks of this thread are not ours."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def _enter(environment: Environment) -> None:
    with study_alone(STUDY, environment):
        pass


def test_a_study_runs_once_per_store_whatever_the_instance(tmp_path: Path) -> None:
    with study_alone(STUDY, _environment(tmp_path, home="one")):
        with pytest.raises(StudyError, match=r"study embedded is being run from .*store by another process"):
            _elsewhere(lambda: _enter(_environment(tmp_path, home="two")))
        with pytest.raises(StudyError, match=r"being run from .*one by another process"):
            _elsewhere(lambda: _enter(_environment(tmp_path, home="one")))
    _elsewhere(lambda: _enter(_environment(tmp_path, home="two")))


def test_what_a_killed_process_of_another_study_left_is_closed_and_a_live_ones_is_not(tmp_path: Path) -> None:
    environment = _environment(tmp_path, home="home")
    with dg.instance_for_test() as instance:
        left = [
            create_run_for_test(instance, tags={LAUNCHER: name}, status=dg.DagsterRunStatus.STARTED)
            for name in ("embedded", "killed")
        ]
        with study_alone(STUDY, environment):
            _elsewhere(lambda: close_runs_of_dead_processes(environment.dagster_home, instance))
        found = [instance.get_run_by_id(run.run_id) for run in left]

    assert [run.status.value for run in found if run] == ["STARTED", "FAILURE"]
