"""What goes out to a server is ours alone, what comes in is bounded, and an error is one under any status."""

import asyncio
import base64
import json
import os
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import httpx2
import openai
import pytest

from neuroscribe.errors import LLMError
from neuroscribe.ports.replies import Message, Reply
from neuroscribe.testing.server_batches import Batches
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.virtual_time import run_in_virtual_time
from resources.llm.batches import BatchedServer
from resources.llm.faults import UnansweredError, WithheldError, of_body
from resources.llm.server import AnthropicServer, OpenAIServer
from resources.llm.transport import Drive
from tests.resources.llm.virtual import TimedServer, server
from tests.resources.llm.weather import Weather

HEADERS = {
    "host", "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type",
    "user-agent",
}  # fmt: skip
KEY = "sk-4711-very-secret-0815"


def asked(server: OpenAIServer | AnthropicServer | BatchedServer) -> Reply:
    turns = [Message("user", "rain?")]
    return asyncio.run(server.reply(turns, max_tokens=5, temperature=0.0, seed=0))


def batched(scripted: ScriptedServer, **options: object) -> BatchedServer:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    server = OpenAIServer("m", base_url=scripted.base_url, api_key=KEY)
    return BatchedServer(server, MemoryCalls(), wait_s=99.0, sleep=sleep, **options)  # type: ignore[arg-type]


def variables_of_the_client() -> set[str]:
    """Every environment variable that the `openai` package's source mentions."""
    sources = Path(openai.__file__).parent.rglob("*.py")
    named = [
        re.findall(r"[\"']([A-Z][A-Z0-9_]*OPENAI_[A-Z_]+|OPENAI_[A-Z_]+)[\"']", path.read_text())
        for path in sources
    ]
    return {name for names in named for name in names}


def test_nothing_of_the_environment_goes_to_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    names = variables_of_the_client()
    assert {"OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS", "OPENAI_BASE_URL"} <= names
    for name in names | {"OPENAI_ORGANIZATION", "OPENAI_DEFAULT_HEADERS"}:
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://planted.example/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Planted: planted\nAuthorization: Bearer planted")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login planted password planted")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with ScriptedServer(Weather(), api_key=KEY, batches=Batches()) as scripted:
        assert asked(OpenAIServer("m", base_url=scripted.base_url, api_key=KEY)).status == "ok"
        assert asked(batched(scripted)).status == "ok"
        assert len(scripted.calls) == len(scripted.headers) == 5
    for headers in scripted.headers:
        assert headers.keys() <= HEADERS
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["user-agent"].startswith("neuroscribe/")
        assert not any("planted" in sent.lower() for sent in headers.values())
    assert not any("planted" in json.dumps(body) for _, body in scripted.calls)


@pytest.mark.parametrize(
    "variables",
    [{"HTTPS_PROXY": "nonsense://me:HUSH-HUSH@proxy:1"}, {"HTTPS_PROXY": "http://me:HUSH-HUSH@proxy:port"}],
)
def test_a_proxy_that_is_none_is_named_with_its_variable_and_without_its_password(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LLMError, match=r"cannot be asked .*HTTPS_PROXY") as met:
        asked(OpenAIServer("m", base_url="https://llm.example/v1"))
    assert "HUSH" not in str(met.value)


@pytest.mark.parametrize("packings", [("gzip", "gzip"), ("br",), ("zstd",), ("gzip", "br")])
def test_what_is_packed_as_nobody_asked_is_an_attempt_that_failed(packings: tuple[str, ...]):
    bomb = ScriptedFault.packed(bytes(2**26), *packings)
    with ScriptedServer(Weather(), faults=[bomb]) as scripted:
        tracemalloc.start()
        reply = asked(OpenAIServer("m", base_url=scripted.base_url, drive=Drive(max_retries=0)))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (reply.status, reply.raw) == ("failed", f"no answer: a body packed as {', '.join(packings)!r}")
    assert most < 2**25


@pytest.mark.parametrize("status", [200, 500])
def test_a_small_body_that_unpacks_to_a_large_one_is_not_read_to_its_end(status: int):
    bomb = ScriptedFault.packed(bytes(2**28), "gzip")
    assert len(bomb.body) < 2**19
    bomb = ScriptedFault(status, bomb.body, bomb.headers)
    with ScriptedServer(Weather(), faults=[bomb]) as scripted:
        reply = asked(OpenAIServer("m", base_url=scripted.base_url, drive=Drive(max_retries=0)))
    assert (reply.status, reply.raw) == ("failed", "no answer: a body of more than 16 MiB")


@pytest.mark.parametrize(
    "quoted",
    [
        "".join(f"\\u{ord(letter):04X}" for letter in KEY),
        base64.b64encode(f"me:{KEY}".encode()).decode(),
        "".join(f"%{ord(letter):02x}" for letter in KEY),
        f"{KEY[:7]}************{KEY[-4:]}",
        KEY[:12],
    ],
)
def test_a_key_is_in_no_answer_job_or_message_however_a_server_quotes_it(quoted: str):
    answer = '{"choices": [{"message": {"content": "you sent ' + quoted + '"}, "finish_reason": "stop"}]}'
    refusal = '{"error": {"message": "no: ' + quoted + '"}}'
    with ScriptedServer(
        Weather(), faults=[ScriptedFault(200, answer), ScriptedFault(400, refusal)]
    ) as scripted:
        llm = OpenAIServer("m", base_url=scripted.base_url, api_key=KEY)
        reply = asked(llm)
        with pytest.raises(LLMError, match=r"HTTP 400: no: .*\[key\]") as met:
            asked(llm)
    assert (reply.text or "").startswith("you sent ")
    for told in (reply.raw, f"{reply.text}", str(met.value)):
        assert "[key]" in told
        assert quoted not in told
        assert KEY[:8] not in told


TOLD = {
    429: [
        {"code": 429, "message": "slow down"},
        {"code": "429", "message": "slow down"},
        {"status": 429},
        {"type": "rate_limit_error"},
        {"code": "rate_limit_exceeded"},
        {"code": 8, "status": "RESOURCE_EXHAUSTED"},
    ],
    503: [{"code": 503, "message": "loading"}, {"status": "UNAVAILABLE"}],
    529: [{"type": "overloaded_error"}],
    500: [{"type": "server_error"}, {"code": 500}],
}


@pytest.mark.parametrize(("status", "error"), [(status, each) for status in TOLD for each in TOLD[status]])
def test_an_error_under_a_success_counts_as_the_status_that_it_names(status: int, error: dict[str, object]):
    endpoint = OpenAIServer("m", base_url="http://h/v1").endpoint
    for body in ({"error": error}, {"type": "error", "error": error}, {"object": "error", **error}):
        if "type" in error and "error" not in body:
            continue
        met = of_body(json.dumps(body), {"retry-after": "7"}, endpoint)
        assert isinstance(met, UnansweredError)
        assert str(met).startswith(f"HTTP {status}: ")
        assert (met.retry_after_s, met.not_ready) == (7.0, status in (503, 529))


def test_an_error_under_a_success_may_end_the_run_or_withhold_the_prompt():
    endpoint = OpenAIServer("m", base_url="http://h/v1", api_key=KEY).endpoint
    with pytest.raises(LLMError, match=r"refused the key \(HTTP 401: No auth"):
        raise of_body('{"error": {"code": 401, "message": "No auth"}}', {}, endpoint) or AssertionError
    with pytest.raises(LLMError, match="no credit left"):
        raise of_body('{"error": {"code": 402, "message": "buy"}}', {}, endpoint) or AssertionError
    withheld = of_body('{"error": {"code": "content_filter"}}', {}, endpoint)
    assert isinstance(withheld, WithheldError)


@pytest.mark.parametrize(
    "body",
    [
        '{"choices": [], "error": null}',
        '{"choices": [{"message": {"content": "the word \\"error\\""}}]}',
        '["error"]',
        '"error"',
        '{"error": ' + "[" * 9999,
        "",
    ],
)
def test_a_body_without_an_error_is_none(body: str):
    assert of_body(body, {}, OpenAIServer("m", base_url="http://h/v1").endpoint) is None


def test_a_429_under_a_success_is_tried_again_after_the_time_that_it_names():
    slow = ScriptedFault(200, '{"error": {"code": 429, "message": "slow"}}', {"Retry-After": "0.1"})
    with ScriptedServer(Weather(), faults=[slow] * 2) as scripted:
        assert asked(OpenAIServer("m", base_url=scripted.base_url)).text == " words for weather"
        assert len(scripted.calls) == 3


def loading() -> httpx2.Response:
    return httpx2.Response(503, json={"error": {"message": "Loading model"}})


def loading_under_200() -> httpx2.Response:
    return httpx2.Response(200, json={"error": {"code": 503, "message": "Loading model"}})


def refusing() -> httpx2.Response:
    raise httpx2.ConnectError("nobody listens")


def dropping() -> httpx2.Response:
    raise httpx2.RemoteProtocolError("disconnected")


def checked(answer: Callable[[], httpx2.Response], *, until: float, **options: object) -> TimedServer:
    """Check a server that gives such answers until that second, and return what it was asked."""
    timed = TimedServer(lambda now: 0.0 if now >= until else answer())

    async def work() -> None:
        async with timed.client() as client:
            await server(client, **options).check()

    run_in_virtual_time(work())
    return timed


@pytest.mark.parametrize("answer", [loading, loading_under_200])
def test_the_check_waits_for_a_server_that_loads_its_model_and_shows_it(
    answer: Callable[[], httpx2.Response],
):
    progress = SilentProgress()
    timed = checked(answer, until=600.0, progress=progress)
    assert 600 <= timed.arrivals[-1] < 660
    assert list(progress.totals) == ["wait for the LLM server at http://llm.example/v1"]
    assert "HTTP 503: Loading model" in progress.notes[-1]


def test_the_check_waits_no_longer_for_it_than_a_run_does():
    with pytest.raises(LLMError, match=r"has been down for 10:00 \(HTTP 503: Loading model\)"):
        checked(loading, until=1e6, drive=Drive(patience_s=600.0))


@pytest.mark.parametrize("answer", [refusing, dropping, lambda: httpx2.Response(502)])
def test_the_check_waits_for_nothing_else(answer: Callable[[], httpx2.Response]):
    with pytest.raises(LLMError):
        checked(answer, until=10.0)


def test_a_server_that_goes_away_while_it_is_waited_for_is_not_waited_for():
    answers = [loading] * 20

    with pytest.raises(LLMError, match="nobody listens"):
        checked(lambda: answers.pop()() if answers else refusing(), until=1e6)
