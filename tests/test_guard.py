"""What the guard before Dagster's page lets pass; tests/test_ui.py tries the real page."""

import asyncio
from typing import Any

import pytest

from dagster_project.environments import Environment
from dagster_project.guard import Guard
from dagster_project.ui import hosts_at
from neuroscribe.errors import StudyError

OURS = {"host": "127.0.0.1:3000"}
JSON = {"content-type": "application/json"}


def answer(
    headers: dict[str, str], *, method: str = "GET", path: str = "/", kind: str = "http", port: int = 3000
) -> str:
    """Return "passed", or why a request was refused."""
    sent: list[Any] = []
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append("passed")

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": method, "path": path, "headers": raw}
    asyncio.run(Guard(app, hosts_at(port, ["example.org"]))(scope, receive, send))
    if passed:
        return passed[0]
    if kind == "websocket":
        return sent[0]["reason"]
    assert sent[0]["status"] == 403
    return sent[1]["body"].decode().strip()


def test_no_page_of_others_may_hold_an_answer_in_a_frame() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the page"})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"127.0.0.1:3000")]}
    asyncio.run(Guard(app, hosts_at(3000, []))(scope, None, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["headers"] == [(b"x-frame-options", b"SAMEORIGIN")]


@pytest.mark.parametrize(
    ("request_", "headers"),
    [
        ("the page", {}),
        ("a typed address", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}),
        ("the page's own files", {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"}),
        ("what the page reads", {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}),
        (
            "a link elsewhere",
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        ),
        ("another name of this machine", {"host": "LocalHost:3000", "origin": "http://localhost:3000"}),
        ("the same over IPv6", {"host": "[::1]:3000", "origin": "http://[::1]:3000"}),
        ("a proxy that is named", {"host": "example.org", "origin": "https://example.org"}),
        ("a proxy that keeps its name to itself", {"origin": "https://example.org"}),
    ],
)
def test_what_a_user_does_passes(request_: str, headers: dict[str, str]) -> None:
    assert answer(OURS | headers) == "passed"


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"host": "evil.example:3000"}, "Host 'evil.example:3000' is not this server's"),
        ({"host": "127.0.0.1"}, "Host '127.0.0.1' is not"),
        ({"host": "127.0.0.1:3001"}, "Host '127.0.0.1:3001' is not"),
        ({"host": ""}, "Host '' is not"),
        ({"origin": "https://evil.example"}, "Origin 'https://evil.example' is another web page"),
        ({"origin": "http://127.0.0.1:8000"}, "Origin 'http://127.0.0.1:8000' is another"),
        ({"origin": "http://127.0.0.1:3000.evil.example"}, "is another web page"),
        ({"origin": "http://evil.example@127.0.0.1:3000"}, "is another web page"),
        ({"origin": "null"}, "Origin 'null' is another"),
        ({"origin": "http://[x"}, "is another web page"),
        ({"origin": "file://127.0.0.1:3000"}, "is another web page"),
        ({"sec-fetch-site": "cross-site"}, "made by another web page"),
        ({"sec-fetch-site": "same-site"}, "made by another web page"),
        (
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
            "made by another web page",
        ),
    ],
)
def test_what_another_page_can_make_a_browser_send_is_refused(
    headers: dict[str, str], said: str, kind: str
) -> None:
    assert said in answer(OURS | headers, kind=kind)


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/prefix/graphql"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_graphql_is_asked_by_post_and_not_by_an_address(method: str, path: str) -> None:
    assert answer(OURS, method=method, path=path) == "GraphQL is asked by POST"


def test_the_page_for_queries_passes() -> None:
    assert answer(OURS | {"accept": "text/html,*/*"}, path="/graphql") == "passed"


@pytest.mark.parametrize("form", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_graphql_in_json_passes(form: str) -> None:
    assert answer(OURS | {"content-type": form}, method="POST", path="/graphql") == "passed"


@pytest.mark.parametrize(
    "form",
    [
        None,
        "",
        "text/plain",
        "text/plain; application/json",
        "text/plain, application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
    ],
)
def test_graphql_in_what_a_form_can_send_is_refused(form: str | None) -> None:
    headers = {} if form is None else {"content-type": form}
    assert "is not application/json" in answer(OURS | headers, method="POST", path="/graphql")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/report_asset_materialization/planted/scores"), ("POST", "/"), ("PUT", "/graphql")]
    + [(method, "/graphql") for method in ("DELETE", "PATCH", "OPTIONS", "TRACE")],
)
def test_nothing_else_may_change_anything(method: str, path: str) -> None:
    assert f"{method} '{path}' is not allowed" in answer(OURS | JSON, method=method, path=path)


def test_the_usual_port_may_be_left_out() -> None:
    assert answer({"host": "localhost", "origin": "http://localhost"}, port=80) == "passed"


def test_further_hosts_are_named_by_the_environment_and_nothing_but_hosts() -> None:
    def named(value: str) -> tuple[str, ...]:
        return Environment.read({"NEUROSCRIBE_UI_HOSTS": value}).ui_hosts

    assert named("") == ()
    assert named("a.example, [::1]:80 b:8443,") == ("a.example", "[::1]:80", "b:8443")
    for wrong in ("https://a.example", "*", "a.example/x", "a:b"):
        with pytest.raises(StudyError, match=r"NEUROSCRIBE_UI_HOSTS names .*; name hosts"):
            named(wrong)
