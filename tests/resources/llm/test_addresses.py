"""Requests go below the address that a study names, and nowhere else."""

import asyncio

import pytest

from neuroscribe.errors import LLMError
from neuroscribe.ports.replies import Message
from neuroscribe.testing.server_batches import Batches
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from neuroscribe.testing.stores import MemoryCalls
from resources.llm.addresses import above, base_address, below, is_same_server
from resources.llm.batches import BatchedServer
from resources.llm.openai_wire import ChatWire
from resources.llm.server import AnthropicServer, OpenAIServer
from resources.llm.transport import Drive
from tests.resources.llm.weather import Weather

PATH = "/chat/completions"


def opened(url: str, **options: object) -> OpenAIServer:
    return OpenAIServer("m", base_url=url, drive=Drive(max_retries=0), timeout_s=3.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://h/v1", "http://h/v1/chat/completions"),
        (" http://h/v1// ", "http://h/v1/chat/completions"),
        ("http://h", "http://h/chat/completions"),
        ("http://h//v1", "http://h//v1/chat/completions"),
        ("http://h/v1?api-version=2", "http://h/v1/chat/completions?api-version=2"),
        ("http://h/v1/?api-version=2&x=a/b", "http://h/v1/chat/completions?api-version=2&x=a/b"),
        ("http://h/v1?", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/v1/completions/", "http://h/v1/chat/completions"),
        ("http://h/d/chat/completions?api-version=2", "http://h/d/chat/completions?api-version=2"),
    ],
)
def test_a_path_is_joined_to_an_address(given: str, asked: str):
    base = base_address(given, ChatWire.paths)
    assert below(base, PATH) == asked
    assert opened(given).endpoint.url == base
    assert above(asked, PATH) == base.rstrip("?")


def test_queries_of_address_and_path_go_together():
    assert (
        below("http://h/v1?api-version=2", "/batches?limit=1") == "http://h/v1/batches?api-version=2&limit=1"
    )
    assert (
        above("http://g/v2/batches?api-version=2&limit=1", "/batches?limit=1") == "http://g/v2?api-version=2"
    )
    assert above("http://sign.in/here", PATH) is None


def test_an_address_of_anthropics_may_be_pasted_with_its_path():
    server = AnthropicServer("claude", base_url="https://llm.example/v1/messages")
    assert server.endpoint.url == "https://llm.example"


@pytest.mark.parametrize("url", ["http://h/v1#part", "http://h/v1?api_key=HUSH", "http://h?x=1&sig=HUSH"])
def test_an_address_with_a_fragment_or_a_secret_is_refused(url: str):
    with pytest.raises(LLMError, match="the address of the LLM server") as refused:
        opened(url)
    assert "HUSH" not in str(refused.value)


@pytest.mark.parametrize(
    ("there", "same"),
    [
        ("http://h/else", True),
        ("http://h:80/v1", True),
        ("https://h/v1", True),
        ("http://g/v1", False),
        ("http://h:81/v1", False),
        ("https://h:8443/v1", False),
        ("http://h.evil/v1", False),
        ("http://h:99999/v1", False),
        ("http://[h/v1", False),
    ],
)
def test_a_server_is_a_scheme_a_host_and_a_port(there: str, same: bool):
    assert is_same_server("http://h/v1", there) is same
    assert not is_same_server("https://h/v1", "http://h/v1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_to_another_server_is_followed_and_the_message_names_it(status: int):
    with ScriptedServer(Weather()) as other, ScriptedServer(Weather()) as scripted:
        scripted.faults = [ScriptedFault.moved(f"{other.base_url}{PATH}", status)]
        with pytest.raises(LLMError, match=rf"sends requests on to .*write {other.base_url} as base_url in"):
            asyncio.run(opened(scripted.base_url).check())
        assert (len(scripted.calls), other.calls) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_may_change_the_method_is_named_and_not_followed(status: int):
    with ScriptedServer(Weather(), faults=[ScriptedFault.moved(f"/v2{PATH}", status)]) as scripted:
        new = scripted.base_url.replace("/v1", "/v2")
        with pytest.raises(LLMError, match=f"write {new} as base_url in"):
            asyncio.run(opened(scripted.base_url).check())
        assert len(scripted.calls) == 1


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_within_the_server_that_keeps_the_method_is_followed(status: int):
    with ScriptedServer(Weather(), faults=[ScriptedFault.moved(f"/v1{PATH}?moved", status)]) as scripted:
        with pytest.raises(LLMError, match="there is nothing at"):
            asyncio.run(opened(scripted.base_url).check())
        assert [path for path, _ in scripted.calls] == [f"/v1{PATH}", f"/v1{PATH}?moved"]
        assert scripted.calls[0][1] == scripted.calls[1][1]


def test_redirects_in_a_circle_end():
    circle = [ScriptedFault.moved(f"/v1{PATH}")] * 9
    with ScriptedServer(Weather(), faults=circle) as scripted:
        with pytest.raises(LLMError, match="sends requests on to"):
            asyncio.run(opened(scripted.base_url).check())
        assert len(scripted.calls) == 3


def test_a_redirect_to_what_is_no_address_ends_the_check():
    nowhere = [ScriptedFault.moved("http://h:port/")]
    with (
        ScriptedServer(Weather(), faults=nowhere) as scripted,
        pytest.raises(LLMError, match="sends requests on to"),
    ):
        asyncio.run(opened(scripted.base_url).check())


def test_the_secrets_of_a_new_address_are_not_shown():
    away = ScriptedFault.moved("https://me:HUSH@other.example/login?token=HUSH&next=1")
    with (
        ScriptedServer(Weather(), faults=[away]) as scripted,
        pytest.raises(
            LLMError, match=r"on to https://\[hidden\]@other\.example/login\?token=\[hidden\]"
        ) as met,
    ):
        asyncio.run(opened(scripted.base_url).check())
    assert "HUSH" not in str(met.value)


ONE = ScriptedFault()


@pytest.mark.parametrize("before", range(4), ids=["uploaded", "submitted", "looked at", "downloaded"])
def test_no_part_of_a_batch_job_goes_to_another_server(before: int):
    async def asked(server: BatchedServer) -> None:
        await server.reply([Message("user", "rain?")], max_tokens=5, temperature=0.0, seed=0)

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    with ScriptedServer(Weather()) as other, ScriptedServer(Weather(), batches=Batches()) as scripted:
        scripted.faults = [*[ONE] * before, ScriptedFault.moved(f"{other.base_url}/files")]
        server = BatchedServer(opened(scripted.base_url), MemoryCalls(), wait_s=99.0, sleep=sleep)
        with pytest.raises(LLMError, match="sends requests on to"):
            asyncio.run(asked(server))
        assert (len(scripted.calls), other.calls) == (before + 1, [])
        assert server._open == {}
