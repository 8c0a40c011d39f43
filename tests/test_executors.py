"""Steps in processes of their own, and on a real Ray cluster of this machine: killed workers, and a key."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import dagster as dg
import pytest

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from neuroscribe.kinds import read_study
from neuroscribe.testing.planted import LAYERS, PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
KEY = "sk-secret-0123456789"
CAPTURED = ("activations/statistics", "neuron_records")
SHOWN = ("tasks", "actors", "workers", "runtime_envs")
EXPLAINED = ("explanations", "simulations", "scores")


@dataclass
class Runs:
    """What runs in this process have made of two studies."""

    folder: Path

    def store(self, name: str, alone: str, *tables: str) -> dict[str, str]:
        """Return the variables of a new store that holds some tables of a run in this process."""
        for table in tables:
            source = self.folder / alone / "store/planted" / table
            shutil.copytree(source, self.folder / name / "store/planted" / table)
        variables = _variables(self.folder / alone)
        return variables | {"NEUROSCRIBE_STORE": str(self.folder / name / "store")}

    def contents(self, name: str, *tables: str) -> dict[tuple[str, int], str]:
        """Return the hashes of the rows of a store's tables, by table and layer."""
        found = Tables(str(self.folder / name / "store"))
        places = [(table, layer) for table in tables for layer in range(LAYERS)]
        stamps = {place: found.stamp("planted", *place) for place in places}
        return {place: stamp.content for place, stamp in stamps.items() if stamp}

    def explain(self, name: str, **settings: str) -> tuple[Path, str]:
        """Explain layer 0 into a new store by a run of Dagster's; return its history and what it printed."""
        home = self.folder / name / "home"
        home.mkdir(parents=True)
        shutil.copy(ROOT / "deploy" / "dagster.yaml", home)
        before = (
            "corpus",
            "activations",
            "neuron_records",
            "sampled_activations",
            "token_lookup",
            "connections",
        )
        run = _begun(
            self.store(name, "small", *before) | settings | {"DAGSTER_HOME": str(home)},
            *("dagster", "asset", "materialize", "-m", "dagster_project.definitions"),
            *("--select", ",".join(f"planted/{stage}" for stage in EXPLAINED), "--partition", "layer_00"),
        )
        said, _ = run.communicate(timeout=400)
        assert run.returncode == 0, said[-3000:]
        return home, said


@dataclass
class Cluster:
    """A Ray cluster of one machine and two CPUs."""

    logs: Path
    port: int
    dashboard: int

    def capture(self, variables: dict[str, str], *options: str) -> "subprocess.Popen[str]":
        address = f"127.0.0.1:{self.port}"
        return _begun(variables, "dagster_project.ray_capture", "planted", "--address", address, *options)

    def shown(self, path: str) -> Any:
        """Return what Ray's dashboard answers."""
        with urlopen(f"http://127.0.0.1:{self.dashboard}{path}", timeout=60) as answer:
            return json.load(answer)

    def tasks(self) -> list[dict[str, Any]]:
        found = self.shown("/api/v0/tasks?detail=True&limit=1000")["data"]["result"]["result"]
        return [task for task in found if task["name"].startswith("capture planted, shard ")]


def _begun(variables: dict[str, str], *command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=_bare() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _bare() -> dict[str, str]:
    """Return the environment of this process without what a user may have set of Ray's."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return own | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}


def _free_ports(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in opened]
    for each in opened:
        each.close()
    return ports


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("executors")
    with ScriptedServer(PlantedScript(), model=MODEL, api_key=KEY) as server:
        write_planted_study(folder / "large", base_url=server.base_url, sequences=1100, documents=300)
        write_planted_study(folder / "small", base_url=server.base_url)
        _captured(_variables(folder / "large"))
        _captured({**_variables(folder / "small"), "NEUROSCRIBE_LLM_API_KEY": KEY}, explained=True)
        yield Runs(folder)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The workers alone have the key: what starts runs and captures has it not."""
    if not all(find_spec(name) for name in ("ray", "dagster_ray")):
        pytest.skip("Ray is not installed (requirements-ray.lock)")
    # Ray's sockets lie in it, and their paths may have 107 characters.
    with TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as logs:
        ports = _free_ports(4)
        ray = _started(Path(logs), ports)
        try:
            _wait_until(lambda: "Ray runtime started" in (Path(logs) / "head").read_text(), ray)
            yield Cluster(Path(logs), *ports[:2])
        finally:
            ray.terminate()
            ray.wait(60)


def _variables(folder: Path) -> dict[str, str]:
    return {
        "NEUROSCRIBE_STUDIES": str(folder / "studies"),
        "NEUROSCRIBE_STORE": str(folder / "store"),
        "NEUROSCRIBE_HUB": "0",
    }


def _captured(variables: dict[str, str], *, explained: bool = False) -> None:
    """Capture a study, or what of it is missing, and maybe explain layer 0, in this process."""
    environment = Environment.read(variables)
    study = read_study(environment.studies / "planted.toml")
    with dg.instance_for_test() as instance:
        launcher = Launcher(study, build_defs([study], environment=environment), instance, environment)
        launcher.capture()
        if explained:
            launcher.sample([0])
            launcher.explain(0)


def _started(logs: Path, ports: list[int]) -> "subprocess.Popen[bytes]":
    head, dashboard, client, agent = map(str, ports)
    own = {"NEUROSCRIBE_LLM_API_KEY": KEY, "NEUROSCRIBE_HUB": "0"}
    own |= {"NEUROSCRIBE_BATCH_TOKENS": "64", "NEUROSCRIBE_CHECKPOINT_SECONDS": "0"}
    with (logs / "head").open("wb") as log:
        ray = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "ray.scripts.scripts",
                    "start",
                    "--head",
                    "--block",
                    "--num-cpus",
                    "2",
                ),
                *("--node-ip-address", "127.0.0.1", "--port", head, "--dashboard-host", "127.0.0.1"),
                *("--dashboard-port", dashboard, "--ray-client-server-port", client),
                *("--dashboard-agent-listen-port", agent, "--min-worker-port", "0", "--max-worker-port", "0"),
                *("--temp-dir", str(logs)),
            ],
            env=_bare() | own,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return ray


def _wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[Any]", seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, process.stdout.read()[-2000:] if process.stdout else process.args
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_shard_whose_worker_is_killed_loses_nothing_and_one_that_fails_is_named_and_made_up_for(
    runs: Runs, cluster: Cluster
) -> None:
    variables = runs.store("shards", "large", "corpus")
    tensors = runs.folder / "shards/store/planted/activations/tensors"
    tensors.mkdir(parents=True)
    torn = tensors / "layer_01.shard_1_of_2.safetensors"
    torn.write_bytes(b"torn")
    driver = cluster.capture(variables, "--shards", "2")
    killed: list[int] = []

    def has_killed() -> bool:
        own = [task for task in cluster.tasks() if task["name"].endswith("shard 0 of 2")]
        pids = [task["worker_pid"] for task in own if task["state"] == "RUNNING"]
        if pids and (tensors / "layer_01.shard_0_of_2.open.safetensors").exists():
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])
        return bool(killed)

    _wait_until(has_killed, driver)
    said, _ = driver.communicate(timeout=300)

    assert driver.returncode == 1
    assert "error: 1 of 2 shards of planted are not captured; the same command goes on with them\n" in said
    assert re.findall(r"^shard (\d+): (\S+)", said, re.MULTILINE) == [("1", f"{torn}:")]
    assert "Traceback" not in said
    _wait_for_attempts(cluster, 3)
    torn.unlink()
    whole = [f"layer_0{n}.shard_0_of_2.safetensors" for n in (0, 1)]
    assert sorted(path.name for path in tensors.glob("[!.]*")) == whole
    _captured(variables)
    alone = runs.contents("large", *CAPTURED)
    assert len(alone) == len(CAPTURED) * LAYERS
    assert runs.contents("shards", *CAPTURED) == alone


def _wait_for_attempts(cluster: Cluster, count: int) -> None:
    """The dashboard learns of what has ended a moment later."""
    end = time.monotonic() + 30
    while (attempts := [(task["task_id"], task["attempt_number"]) for task in cluster.tasks()]) and (
        len(attempts) < count
    ):
        assert time.monotonic() < end, attempts
        time.sleep(0.5)
    assert len(set(attempts)) == count


def test_a_layer_explained_by_steps_in_processes_of_their_own_has_the_same_rows(runs: Runs) -> None:
    settings = {"NEUROSCRIBE_EXECUTOR": "multiprocess", "NEUROSCRIBE_LLM_API_KEY": KEY}
    home, said = runs.explain("processes", **settings)

    assert "Executing steps using multiprocess executor" in said
    assert runs.contents("processes", *EXPLAINED) == runs.contents("small", *EXPLAINED)
    written = [path for path in home.rglob("*") if path.is_file()]
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []


def test_a_layer_explained_by_steps_that_are_ray_jobs_has_the_same_rows_and_no_key_leaves_the_workers(
    runs: Runs, cluster: Cluster
) -> None:
    address = f"127.0.0.1:{cluster.port}"
    home, said = runs.explain("jobs", NEUROSCRIBE_EXECUTOR="ray", NEUROSCRIBE_RAY_ADDRESS=address)

    alone = runs.contents("small", *EXPLAINED)
    assert len(alone) == len(EXPLAINED)
    assert runs.contents("jobs", *EXPLAINED) == alone
    jobs = cluster.shown("/api/jobs/")
    steps = {job["metadata"].get("dagster/op") for job in jobs}
    assert steps >= {f"planted__{name}" for name in EXPLAINED}
    shown = [jobs, *(cluster.shown(f"/api/v0/{what}?detail=True&limit=1000") for what in SHOWN)]
    assert KEY not in said + json.dumps(shown)
    written = [path for folder in (cluster.logs, home) for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []
