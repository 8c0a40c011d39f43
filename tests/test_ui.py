"""The web page as `make ui` starts it: attacked as another page in the browser can, and used as it is."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import IO, Any

import pytest

from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer

ROOT = Path(__file__).parents[1]
KEY, OTHER = "sk-secret-0123456789", "another-secret-of-the-user"
LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } } }"""
OF_STUDY = """query OfStudy($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) {
  ... on Runs { results { assetSelection { path } } } } }"""
STATUS = """query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"""
CHECKED = """query Checked($key: AssetKeyInput!, $name: String!) {
  assetCheckExecutions(assetKey: $key, checkName: $name, limit: 9) {
    runId status evaluation { partition success } } }"""
RELOAD = """mutation { reloadRepositoryLocation(repositoryLocationName: "neuroscribe") {
  __typename ... on WorkspaceLocationEntry { loadStatus } } }"""
RESOURCES = """query { allTopLevelResourceDetailsOrError(repositorySelector: {
  repositoryLocationName: "neuroscribe", repositoryName: "__repository__"}) {
  ... on ResourceDetailsList { results { name description configuredValues { key value type } } } } }"""
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}

pytestmark = pytest.mark.slow


@dataclass
class Page:
    """A running page, and the processes behind it."""

    port: int
    process: "subprocess.Popen[bytes]"
    thief: "Thief"

    def ask(
        self,
        path: str,
        body: str | None = None,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Return status and body of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        text = "" if answer.status == 101 else answer.read().decode(errors="replace")
        connection.close()
        return answer.status, text

    def query(self, query: str, **variables: Any) -> Any:
        """Ask GraphQL as the page itself does."""
        own = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{self.port}"}
        own["Sec-Fetch-Site"] = "same-origin"
        body = json.dumps({"query": query, "variables": variables})
        status, text = self.ask("/graphql", body, method="POST", headers=own)
        assert status == 200, text
        return json.loads(text)["data"]

    def ended(self, told: Any) -> str:
        """Wait for a run that was launched, and return its status."""
        assert told["__typename"] == "LaunchRunSuccess", told
        run = told["run"]["runId"]
        _wait_until(lambda: self.query(STATUS, id=run)["runOrError"]["status"] in ("SUCCESS", "FAILURE"))
        return self.query(STATUS, id=run)["runOrError"]["status"]

    def launch(
        self, config: dict[str, Any], asset: str | None = "corpus", *, layer: str | None = None, **checks: str
    ) -> Any:
        """Ask for a run of an asset of the planted study with a configuration, or of checks by asset."""
        tags = [{"key": "dagster/partition", "value": layer}] if layer else []
        chosen = [{"assetKey": {"path": ["planted", of]}, "name": name} for of, name in checks.items()]
        params = {
            "selector": {
                "repositoryLocationName": "neuroscribe",
                "repositoryName": "__repository__",
                "jobName": "__ASSET_JOB",
                "assetSelection": [{"path": ["planted", asset]}] if asset else [],
                **({"assetCheckSelection": chosen} if checks else {}),
            },
            "executionMetadata": {"tags": tags},
            "runConfigData": json.dumps(config),
            "mode": "default",
        }
        return self.query(LAUNCH, params=params)["launchRun"]


class Thief:
    """A server elsewhere that writes down who comes by."""

    def __init__(self) -> None:
        self.visits = visits = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                visits.append(self.rfile.readline().decode())
                self.close_connection = True

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder, thief = tmp_path_factory.mktemp("ui"), Thief()
    with ScriptedServer(PlantedScript(), model=MODEL, api_key=KEY) as server:
        write_planted_study(folder, base_url=server.base_url, sequences=100, documents=60)
        with (folder / "log").open("w") as log:
            process, port = _started(folder, log)
            try:
                _wait_until(lambda: f"http://127.0.0.1:{port} " in (folder / "log").read_text())
                yield Page(port, process, thief)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(90)
    thief.close()
    assert process.returncode == 0, (folder / "log").read_text()
    _wait_until(lambda: not _is_alive(process.pid), 30)  # nothing of it is left


def _started(folder: Path, log: IO[str]) -> "tuple[subprocess.Popen[bytes], int]":
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "NEUROSCRIBE_STUDIES": str(folder / "studies"),
        "NEUROSCRIBE_STORE": str(folder / "store"),
        "NEUROSCRIBE_HUB": "0",
        "NEUROSCRIBE_LLM_API_KEY": KEY,
        "A_SECRET": OTHER,
        "DAGSTER_HOME": str(folder / "home"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.ui", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | variables,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return process, port


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_the_page_its_files_and_its_questions_are_answered(page: Page) -> None:
    status, html = page.ask("/", headers={"Accept": "text/html", "Sec-Fetch-Site": "none"})
    assert (status, "<html" in html.lower()) == (200, True)
    assert page.ask("/favicon.png", headers={"Sec-Fetch-Site": "same-origin"})[0] == 200
    assert page.ask("/graphql", headers={"Accept": "text/html"})[0] == 200
    assert page.query("{ version }")["version"]


def test_the_page_s_websocket_is_opened_and_another_page_s_is_not(page: Page) -> None:
    own = {"Origin": f"http://127.0.0.1:{page.port}", "Sec-Fetch-Site": "same-origin"}
    assert page.ask("/graphql", headers=UPGRADE | own)[0] == 101
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        own | {"Sec-Fetch-Site": "same-site"},
        own | {"Host": f"evil.example:{page.port}"},
    ):
        assert page.ask("/graphql", headers=UPGRADE | foreign)[0] == 403


@pytest.mark.parametrize(
    "change",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "text/plain; application/json"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/graphql"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_a_launch_that_another_page_can_send_is_refused(page: Page, change: dict[str, str]) -> None:
    body = json.dumps({"query": RELOAD})
    headers = {"Content-Type": "application/json"} | change
    if change.get("Host"):
        headers["Host"] += f":{page.port}"
    assert page.ask("/graphql", body, method="POST", headers=headers)[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/graphql?query=mutation%7BreloadWorkspace%7B__typename%7D%7D"),
        ("HEAD", "/graphql?query=mutation%7BreloadWorkspace%7B__typename%7D%7D"),
        ("POST", "/graphql?query=mutation%7BreloadWorkspace%7B__typename%7D%7D"),
        ("POST", "/report_asset_materialization/planted/corpus?description=x"),
        ("POST", "/report_asset_check/planted/corpus?check_name=x&passed=true"),
    ],
)
def test_no_address_does_anything(page: Page, method: str, path: str) -> None:
    assert page.ask(path, method=method)[0] == 403


def test_no_run_is_told_another_address_key_store_or_variable(page: Page) -> None:
    """The attack, in a request that is well formed in every other respect."""
    elsewhere, variable = page.thief.url, {"env": "A_SECRET"}
    for asset, name, setting in [
        ("explanations", "llm", {"base_url": elsewhere, "api_key": variable}),
        ("explanations", "io_manager", {"root": variable}),
        ("explanations", "calls", {"root": "s3://evil", "endpoint_url": elsewhere}),
        ("corpus", "texts", {"endpoint_url": elsewhere}),
    ]:
        told = page.launch({"resources": {name: {"config": setting}}}, asset)
        assert told["__typename"] == "RunConfigValidationInvalid", told
        assert OTHER not in json.dumps(told)
    told = page.launch({"ops": {"planted__corpus": {"config": {"files": {"env": "A_SECRET"}}}}})
    assert told["__typename"] == "RunConfigValidationInvalid"
    assert page.thief.visits == []


@pytest.fixture(scope="module")
def corpus(page: Page) -> str:
    """How an honest run that makes the corpus, and checks it, ends."""
    return page.ended(page.launch({}))


def test_an_honest_launch_is_run_and_its_studies_are_read_again_on_request(page: Page, corpus: str) -> None:
    assert corpus == "SUCCESS"
    assert page.query(RELOAD)["reloadRepositoryLocation"]["loadStatus"] == "LOADED"


def test_a_run_that_the_page_launches_is_tagged_with_its_study(page: Page, corpus: str) -> None:
    """So that Dagster counts it: one run of a study at a time."""
    tag = {"key": "neuroscribe/study", "value": "planted"}
    runs = page.query(OF_STUDY, tags=[tag])["runsOrError"]["results"]
    assert {"path": ["planted", "corpus"]} in [path for run in runs for path in run["assetSelection"] or ()]


def test_a_check_is_executed_alone_on_all_layers_that_there_are_as_the_page_asks(
    page: Page, corpus: str
) -> None:
    """The page's button names checks and no partition: it has none to choose for them."""
    assert corpus == "SUCCESS"
    assert page.ended(page.launch({}, "activations", layer="layer_01")) == "SUCCESS"
    alone = page.launch({}, asset=None, activations="few_dead_neurons")
    assert page.ended(alone) == "SUCCESS"
    found = page.query(CHECKED, key={"path": ["planted", "activations"]}, name="few_dead_neurons")
    made = [each for each in found["assetCheckExecutions"] if each["runId"] == alone["run"]["runId"]]
    assert {each["evaluation"]["partition"]: each["status"] for each in made} == {
        "layer_01": "SUCCEEDED", None: "SUCCEEDED",
    }  # fmt: skip


def test_the_page_shows_how_resources_are_set_and_no_key(page: Page) -> None:
    shown = page.query(RESOURCES)["allTopLevelResourceDetailsOrError"]["results"]
    descriptions = {resource["name"]: resource["description"] for resource in shown}
    assert "`concurrency`: 16" in descriptions["llm"]
    assert "/store" in descriptions["io_manager"]
    assert KEY not in json.dumps(shown)
    assert "api_key" not in json.dumps(shown)
