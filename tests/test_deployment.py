"""The services of deploy/ as processes: PostgreSQL, S3, code server, daemon and page, and runs among them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from shutil import copyfile
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from neuroscribe.testing.planted_study import write_planted_study
from tests.postgres_server import DATABASE, PASSWORD, USER, PostgresServer, postgres_server

ROOT = Path(__file__).parents[1]
SITE = "neurons.example.org"
LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message } } }"""
STATUS = """query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"""
DAEMON = "query { instance { daemonHealth { allDaemonStatuses { daemonType healthy } } } }"

pytestmark = pytest.mark.slow


@dataclass
class Deployment:
    """The running services."""

    database: PostgresServer
    s3: Any
    port: int
    variables: dict[str, str]
    folder: Path

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask GraphQL as a browser does through the proxy, which passes on the site's name."""
        body = json.dumps({"query": query, "variables": variables})
        status, text = self.post(body, {"Host": SITE, "Origin": f"https://{SITE}"})
        assert status == 200, text
        return json.loads(text)["data"]

    def post(self, body: str, headers: dict[str, str]) -> tuple[int, str]:
        """Return status and body of what the page answers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def launch(self) -> Any:
        """Ask for a run that makes the corpus of the planted study."""
        selector = {
            "repositoryLocationName": "neuroscribe",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": ["planted", "corpus"]}],
        }
        params = {"selector": selector, "runConfigData": "{}", "mode": "default"}
        return self.ask(LAUNCH, params=params)["launchRun"]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    write_planted_study(folder, base_url="http://127.0.0.1:1/v1", sequences=100, documents=60)
    with ExitStack() as opened:
        database = opened.enter_context(postgres_server())
        s3, endpoint = opened.enter_context(_s3())
        page, code = _free_port(), _free_port()
        shared = _variables(folder, endpoint, database.port, code)
        workspace = ["-w", "deploy/workspace.yaml"]
        services = Services(folder)
        opened.callback(services.end)
        services.start("code", ["dagster_project.code_server", "--port", str(code)], shared)
        _wait_until(lambda: _answers(code), folder)
        wrong = shared | {"POSTGRES_PASSWORD": "not-the-pass-w0rd"}
        for service, command, variables in (
            ("daemon", ["dagster._daemon", "run", *workspace], shared),
            ("page", ["dagster_project.ui", "--port", str(page), *workspace], shared),
            ("stranger", ["dagster_project.ui", "--port", str(_free_port()), *workspace], wrong),
        ):
            services.start(service, command, variables)
        deployed = Deployment(database, s3, page, shared, folder)
        _wait_until(lambda: "Dagster answers at" in (folder / "page.log").read_text(), folder)
        yield deployed


@contextmanager
def _s3() -> Iterator[tuple[Any, str]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="planted",
        aws_secret_access_key="planted",
    )
    client.create_bucket(Bucket="neuroscribe")
    yield client, endpoint
    client.close()
    server.stop()


def _variables(folder: Path, endpoint: str, database: int, code: int) -> dict[str, str]:
    return {
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": str(database),
        "POSTGRES_USER": USER,
        "POSTGRES_PASSWORD": PASSWORD,
        "POSTGRES_DB": DATABASE,
        "CODE_SERVER_HOST": "127.0.0.1",
        "CODE_SERVER_PORT": str(code),
        "NEUROSCRIBE_STUDIES": str(folder / "studies"),
        "NEUROSCRIBE_STORE": "s3://neuroscribe/store",
        "NEUROSCRIBE_S3_ENDPOINT": endpoint,
        "NEUROSCRIBE_HUB": "0",
        "NEUROSCRIBE_UI_HOSTS": SITE,
        "AWS_ACCESS_KEY_ID": "planted",
        "AWS_SECRET_ACCESS_KEY": "planted",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


class Services:
    """Processes, each with a home of its own that has the shipped settings, as in a container."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: list[str], variables: dict[str, str]) -> None:
        """Start a module with its arguments; what it prints goes to a log of its name."""
        home = self._folder / name
        home.mkdir()
        copyfile(ROOT / "deploy" / "dagster.postgres.yaml", home / "dagster.yaml")
        with (self._folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=os.environ | variables | {"DAGSTER_HOME": str(home)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)

    def end(self) -> None:
        """End all at once."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _wait_until(is_so: Callable[[], bool], folder: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        logs = {path.name: path.read_text()[-3000:] for path in folder.glob("*.log")}
        assert time.monotonic() < end, "\n".join(f"== {name}\n{text}" for name, text in logs.items())
        time.sleep(0.5)


def test_a_run_that_the_page_asks_for_succeeds_elsewhere_and_is_on_record_in_postgresql(
    deployment: Deployment,
) -> None:
    told = deployment.launch()
    assert told["__typename"] == "LaunchRunSuccess", told
    run = told["run"]["runId"]
    _wait_until(
        lambda: deployment.ask(STATUS, id=run)["runOrError"]["status"] in ("SUCCESS", "FAILURE"),
        deployment.folder,
    )
    assert deployment.database.rows(f"SELECT status FROM runs WHERE run_id = '{run}'") == [("SUCCESS",)]
    materialised = "SELECT asset_key FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
    assert deployment.database.rows(f"{materialised} AND run_id = '{run}'") == [('["planted", "corpus"]',)]
    stored = deployment.s3.list_objects_v2(Bucket="neuroscribe", Prefix="store/planted/corpus")
    assert stored["KeyCount"] > 0


def test_the_page_has_its_guard(deployment: Deployment) -> None:
    body = json.dumps({"query": "{ version }"})
    assert deployment.post(body, {"Host": SITE})[0] == 200
    assert deployment.post(body, {"Host": "evil.example"})[0] == 403
    assert deployment.post(body, {"Host": SITE, "Origin": "https://evil.example"})[0] == 403
    assert deployment.post(body, {"Host": SITE, "Content-Type": "text/plain"})[0] == 403


def test_the_daemon_reports_to_the_same_history(deployment: Deployment) -> None:
    def is_healthy() -> bool:
        states = deployment.ask(DAEMON)["instance"]["daemonHealth"]["allDaemonStatuses"]
        queue = [state["healthy"] for state in states if state["daemonType"] == "QUEUED_RUN_COORDINATOR"]
        return queue == [True]

    _wait_until(is_healthy, deployment.folder)


def test_a_wrong_password_is_one_message_that_does_not_show_it(deployment: Deployment) -> None:
    log = deployment.folder / "stranger.log"
    _wait_until(lambda: "error: " in log.read_text(), deployment.folder)
    said = log.read_text()
    assert said.strip().splitlines() == [said.strip()], said
    assert "it knows no such user with this password; correct username or password" in said
    assert "not-the-pass-w0rd" not in said
