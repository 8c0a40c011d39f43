"""What Dagster costs beside the work: processor time of a backfill's runs, and of the same work without it.

The page is started as by `make ui`, and asked for backfills as a browser asks it. The subject has many small
layers with random weights, and its LLM answers at once, from this process. Processor time is read from /proc:
that of ended runs is kept by the code server that started them.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import dagster as dg

from benchmarks.figures import Figure, figure
from benchmarks.many_layers import NAME, write_many_layers
from dagster_project.build import build_defs
from dagster_project.environments import ROOT, Environment
from dagster_project.history import history
from dagster_project.launch import Launcher
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study, layer_key
from neuroscribe.study.stages import STAGES, stages_of
from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL
from neuroscribe.testing.servers import ScriptedServer

LAYERS = 48
LOADS, END_S, STEP_S = 3, 1200.0, 1.0
_TICK = os.sysconf("SC_CLK_TCK")
_LOAD = "import dagster_project.definitions, time; print(time.process_time())"
_RUN = """mutation Run($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } } }"""
_RUN_STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_BACKFILL = """mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL_STATUS = """query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""


def backfill_figures(layers: int = LAYERS) -> Iterator[Figure]:
    """Yield the figures of Dagster's own cost, by a subject of so many layers."""
    command = [sys.executable, "-c", _LOAD]
    loads = [
        float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)  # noqa: S603 - ourselves
        for _ in range(LOADS)
    ]
    yield figure("dagster.load_s", loads, "s of processor time to load the studies", n=LOADS)
    with (
        TemporaryDirectory(prefix="neuroscribe-") as folder,
        ScriptedServer(PlantedScript(), model=MODEL) as server,
    ):
        path = write_many_layers(Path(folder), layers=layers, base_url=server.base_url)
        yield from _measured(path, Path(folder), layers)


def _measured(path: Path, folder: Path, layers: int) -> Iterator[Figure]:
    variables = {
        "NEUROSCRIBE_STUDIES": str(path.parent),
        "NEUROSCRIBE_STORE": str(folder / "store"),
        "NEUROSCRIBE_HUB": "0",
        "DAGSTER_HOME": str(folder / "home"),
    }
    study, environment = read_study(path), Environment.read(variables)
    with _page(variables, folder / "log") as page:
        page.run("corpus")
        page.backfill(["activations"], scattered(layers))
        passes = _passes(study, environment)
        yield figure("dagster.passes_for_scattered_layers", [passes], "passes of the corpus", n=5)
        _capture(study, environment)
        explained = [name for name in stages_of(study) if STAGES[name].phase == "explain"]
        before = page.spent()
        page.backfill(explained, range(layers))
        spent = page.spent() - before
    core = _without_dagster(path, variables)
    yield figure("dagster.cpu_s_per_layer", [spent.runs / layers], "s of processor time", n=layers)
    yield figure(
        "dagster.beyond_stages_s_per_layer", [(spent.runs - core) / layers], "s of processor time", n=layers
    )
    yield figure("dagster.share", [1 - core / spent.runs], "of the runs' processor time", n=layers)
    yield figure(
        "dagster.services_cpu_s_per_layer", [spent.services / layers],
        "s of processor time of page, daemon and code server", n=layers,
    )  # fmt: skip


def scattered(layers: int) -> list[int]:
    """Return five layers of which no two are neighbours."""
    return [place * layers // 5 for place in range(5)]


@dataclass(frozen=True)
class Spent:
    """Seconds of processor time: of runs, and of the processes that serve and launch."""

    runs: float
    services: float

    def __sub__(self, earlier: "Spent") -> "Spent":
        """Return what was spent since."""
        return Spent(self.runs - earlier.runs, self.services - earlier.services)


class Page:
    """The running page, asked as a browser asks it."""

    def __init__(self, port: int, session: int) -> None:
        self._origin, self._session = f"http://127.0.0.1:{port}", session

    def query(self, query: str, **variables: Any) -> Any:
        """Return the data of an answer."""
        headers = {
            "Content-Type": "application/json",
            "Origin": self._origin,
            "Sec-Fetch-Site": "same-origin",
        }
        body = json.dumps({"query": query, "variables": variables}).encode()
        with urlopen(Request(f"{self._origin}/graphql", body, headers), timeout=120) as answer:  # noqa: S310 - our own server
            told = json.load(answer)
        assert "errors" not in told, told
        return told["data"]

    def run(self, asset: str) -> None:
        """Materialise an asset that has no partitions."""
        selector = {
            "repositoryLocationName": "neuroscribe",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [NAME, asset]}],
        }
        params = {"selector": selector, "runConfigData": "{}", "mode": "default"}
        run = self.query(_RUN, params=params)["launchRun"]["run"]["runId"]
        self._ended(lambda: self.query(_RUN_STATUS, id=run)["runOrError"]["status"])

    def backfill(self, assets: Sequence[str], layers: Sequence[int]) -> None:
        """Ask for layers of some assets, and wait until they are there."""
        params = {
            "assetSelection": [{"path": [NAME, asset]} for asset in assets],
            "partitionNames": [layer_key(layer) for layer in layers],
        }
        told = self.query(_BACKFILL, params=params)["launchPartitionBackfill"]
        assert "backfillId" in told, told
        name = told["backfillId"]
        self._ended(lambda: self.query(_BACKFILL_STATUS, id=name)["partitionBackfillOrError"]["status"])
        _wait_until(lambda: not any("spawn_main" in each.command for each in _processes(self._session)))

    def spent(self) -> Spent:
        """Return what the page's processes and all runs have spent so far."""
        runs = services = 0.0
        for each in _processes(self._session):
            starts_runs = "dagster" in each.command and "grpc" in each.command
            services += each.own_s + (0.0 if starts_runs else each.children_s)
            runs += each.children_s if starts_runs else 0.0
        return Spent(runs, services)

    def _ended(self, status: Callable[[], str]) -> None:
        _wait_until(lambda: status() in ("SUCCESS", "FAILURE", "CANCELED", *_BACKFILL_ENDS))
        assert status() in ("SUCCESS", "COMPLETED_SUCCESS"), status()


_BACKFILL_ENDS = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED")


@dataclass(frozen=True)
class _Process:
    command: str
    own_s: float
    children_s: float
    """Of its children that have ended, and theirs."""


def _processes(session: int) -> Iterator[_Process]:
    """Yield the living processes of a session."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(fields[3]) == session:
            user, system, children_user, children_system = map(int, fields[11:15])
            yield _Process(command, (user + system) / _TICK, (children_user + children_system) / _TICK)


@contextmanager
def _page(variables: Mapping[str, str], log: Path) -> Iterator[Page]:
    """Serve the page while open."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster_project.ui", "--port", str(port)]
    with (
        log.open("w") as said,
        subprocess.Popen(  # noqa: S603 - ourselves
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=said,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        try:
            _wait_until(lambda: f"http://127.0.0.1:{port} " in log.read_text())
            yield Page(port, process.pid)
        except BaseException:
            print(log.read_text()[-4000:], file=sys.stderr)
            raise
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + END_S
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {END_S:.0f} s")
        time.sleep(STEP_S)


def _passes(study: Study, environment: Environment) -> int:
    """Return in how many passes of the corpus the layers there are were captured."""
    with _history(environment) as instance:
        asset = dg.AssetKey([study.name, "activations"])
        records = instance.fetch_materializations(asset, limit=1000).records
    passes = {
        record.run_id
        for record in records
        if record.asset_materialization and _layers_in_pass(record.asset_materialization)
    }
    return len(passes)


@contextmanager
def _history(environment: Environment) -> Iterator[dg.DagsterInstance]:
    """Open the page's history, and leave this process's own setting as it was."""
    before = os.environ.get("DAGSTER_HOME")
    try:
        with history(environment) as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def _layers_in_pass(materialisation: dg.AssetMaterialization) -> int:
    said = materialisation.metadata.get("layers_in_this_pass")
    return said.value if isinstance(said, dg.IntMetadataValue) else 0


def _capture(study: Study, environment: Environment) -> None:
    """Capture and sample all layers, so that they can be explained."""
    with _history(environment) as instance:
        launcher = Launcher(study, build_defs([study], environment=environment), instance, environment)
        launcher.capture()
        launcher.sample(study.sampled_layers)


def _without_dagster(path: Path, variables: Mapping[str, str]) -> float:
    """Return the seconds that the same stages take in one process, its start included."""
    command = [sys.executable, "-m", "benchmarks.stages_alone", str(path)]
    done = subprocess.run(  # noqa: S603 - ourselves
        command, cwd=ROOT, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])
