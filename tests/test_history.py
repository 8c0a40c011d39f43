"""Dagster's instance, opened for the first time by several processes at once."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from dagster_project.environments import Environment, use_dagster_home
from dagster_project.history import history
from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("DAGSTER_HOME", "set by what is tested")  # and taken back afterwards
    return Environment.read({"DAGSTER_HOME": str(tmp_path / "home")})


def test_a_new_home_gets_its_settings_whole_and_nothing_else(environment: Environment) -> None:
    use_dagster_home(environment)
    assert [path.name for path in environment.dagster_home.iterdir()] == ["dagster.yaml"]
    settings = (environment.dagster_home / "dagster.yaml").read_bytes()
    assert settings == (ROOT / "deploy" / "dagster.yaml").read_bytes()


def test_settings_that_a_user_changed_stay(environment: Environment) -> None:
    use_dagster_home(environment)
    (environment.dagster_home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    use_dagster_home(environment)
    assert "nux" not in (environment.dagster_home / "dagster.yaml").read_text()


def test_while_one_process_makes_the_databases_another_waits(environment: Environment) -> None:
    opened = threading.Event()

    def open_it() -> None:
        with history(environment) as instance:
            assert instance.get_runs(limit=1) == []
        opened.set()

    use_dagster_home(environment)
    with FileLock(environment.dagster_home / ".opening.lock"):
        other = threading.Thread(target=open_it)
        other.start()
        assert not opened.wait(1)
        assert not (environment.dagster_home / "history").exists()
    other.join(60)
    assert opened.is_set()


@pytest.mark.slow
def test_two_studies_that_are_started_at_once_in_a_new_home_both_end_well(tmp_path: Path) -> None:
    with ScriptedServer(PlantedScript(), model=MODEL) as server:
        first = write_planted_study(tmp_path, base_url=server.base_url, sequences=100, documents=60)
        first.with_name("other.toml").write_bytes(first.read_bytes())
        variables = {
            "NEUROSCRIBE_STUDIES": str(first.parent),
            "NEUROSCRIBE_STORE": str(tmp_path / "store"),
            "NEUROSCRIBE_HUB": "0",
            "DAGSTER_HOME": str(tmp_path / "home"),
        }
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "dagster_project.run", name, "--layers", "0"],
                cwd=ROOT,
                env=os.environ | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name in ("planted", "other")
        ]
        said = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
