import asyncio
import json
import logging
import socket
import time
import traceback

import httpx2
import pytest

from neuroscribe.errors import LLMError
from neuroscribe.ports.models import LLM
from neuroscribe.ports.replies import Message, Reply
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from resources.llm.faults import Endpoint
from resources.llm.openai_wire import ChatWire
from resources.llm.prices import Prices
from resources.llm.server import OpenAIServer
from resources.llm.transport import Drive
from resources.llm.wires import Body
from tests.resources.llm.weather import Weather

KEY = "sk-very-secret-0123456789"
QUESTION = [Message("user", "What do rain and snow share?"), Message("assistant", "Explanation:")]


def asked(server: OpenAIServer) -> Reply:
    return asyncio.run(server.reply(QUESTION, max_tokens=60, temperature=1.0, seed=7))


def answered_with(*faults: ScriptedFault, max_retries: int = 0) -> tuple[Reply, int]:
    """The reply after these faults, and the number of requests it took."""
    with ScriptedServer(Weather(), faults=faults) as scripted:
        drive = Drive(max_retries=max_retries)
        reply = asked(OpenAIServer("m", base_url=scripted.base_url, drive=drive, timeout_s=1.5))
        return reply, len(scripted.calls)


def sent(**choice: object) -> ScriptedFault:
    return ScriptedFault(200, json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3}}))


def test_a_chat_server_is_asked_without_the_stub():
    with ScriptedServer(Weather()) as scripted:
        server: LLM = OpenAIServer("m", base_url=scripted.base_url)
        reply = asyncio.run(server.reply(QUESTION, max_tokens=60, temperature=1.0, seed=7))
        assert (reply.text, reply.status) == (" words for weather", "ok")
        assert scripted.calls == [
            (
                "/v1/chat/completions",
                {
                    "model": "m",
                    "messages": [{"role": "user", "content": "What do rain and snow share?"}],
                    "max_tokens": 60,
                    "temperature": 1.0,
                    "seed": 7,
                },
            )
        ]


def test_a_completion_server_continues_the_stub_to_the_end_of_the_line():
    with ScriptedServer(Weather()) as scripted:
        reply = asked(OpenAIServer("m", base_url=scripted.base_url, prompt_style="completion"))
        [(path, body)] = scripted.calls
        assert (reply.text, path) == (" words for weather", "/v1/completions")
        assert body["prompt"] == "What do rain and snow share?\n\nExplanation:"
        assert body["stop"] == "\n"


def test_tokens_and_money_are_counted():
    with ScriptedServer(Weather()) as scripted:
        reply = asked(
            OpenAIServer(
                "m",
                base_url=scripted.base_url,
                prices=Prices(prompt=1.0, completion=10.0),
            )
        )
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
        7,
        3,
    )  # six words and a question mark; three words
    assert reply.usage.cost_usd == pytest.approx(37e-6)


PRICED = Prices(prompt=1.0, completion=10.0)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"prompt_tokens": 4, "completion_tokens": 2}, 24e-6),
        ({"prompt_tokens": 4, "total_tokens": 4}, 4e-6),
        ({"prompt_tokens": 4, "total_tokens": 6}, None),
        ({"prompt_tokens": 4}, None),
        ({"total_tokens": 5000}, None),
        ({"input_tokens": 5000, "output_tokens": 500}, None),
        ({}, None),
    ],
)
def test_a_call_whose_tokens_are_not_all_stated_has_no_known_cost(usage: dict[str, int], cost: float | None):
    found = ChatWire("m").usage(Body(json.dumps({"usage": usage})), PRICED).cost_usd
    assert found == (cost if cost is None else pytest.approx(cost))


def test_an_answer_whose_tokens_all_went_into_thoughts_is_cut_off():
    thoughts = {"content": None, "reasoning_content": "Rain, snow ..."}
    reply, calls = answered_with(sent(message=thoughts, finish_reason="length"))
    assert (reply.status, reply.text, calls) == ("truncated", "", 1)


def test_an_unknown_price_is_no_price():
    reply, _ = answered_with()
    assert reply.usage.cost_usd is None


def test_the_whole_response_is_kept():
    reply, _ = answered_with()
    assert json.loads(reply.raw)["choices"][0]["message"]["content"] == reply.text


@pytest.mark.parametrize(
    "fault",
    [
        sent(message={"content": None, "refusal": "I will not."}, finish_reason="stop"),
        sent(message={"content": "Half an ans"}, finish_reason="content_filter"),
        ScriptedFault.error(400, "The prompt was filtered", code="content_filter"),
        ScriptedFault.error(400, "Invalid prompt: flagged", code="invalid_prompt"),
        ScriptedFault(403, json.dumps({"error": {"code": 403, "metadata": {"reasons": ["violence"]}}})),
    ],
)
def test_a_refusal_is_a_reply_without_text(fault: ScriptedFault):
    reply, calls = answered_with(fault)
    assert (reply.status, reply.text, calls) == ("refused", None, 1)


@pytest.mark.parametrize(
    "fault",
    [
        ScriptedFault.page(),
        ScriptedFault(200, '{"choices": [{"message": {"cont'),
        ScriptedFault(200, json.dumps({"error": {"message": "out of memory"}})),
        ScriptedFault(200, json.dumps({"choices": []})),
        ScriptedFault(200, json.dumps({"choices": None})),
        ScriptedFault(200, "[]"),
        ScriptedFault(200, '{"created": ' + "9" * 5000 + "}"),
        ScriptedFault(200, '{"choices": ' + "[" * 5_000),
        sent(message={"content": None}),
        sent(message="text where an object should be"),
    ],
)
def test_a_body_without_an_answer_is_a_failed_reply_that_keeps_it(fault: ScriptedFault):
    reply, _ = answered_with(fault)
    assert (reply.status, reply.text, reply.raw) == ("failed", None, fault.body)


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (ScriptedFault.error(500, "engine died"), "HTTP 500: engine died"),
        (ScriptedFault.page(502), "HTTP 502"),
        (ScriptedFault.too_many(retry_after="0.01"), "HTTP 429: slow down"),
        (ScriptedFault.late(5.0), "ReadTimeout"),
        (ScriptedFault.connection_reset(), "no answer"),
    ],
)
def test_what_stays_unanswered_is_a_failed_reply_that_says_why(fault: ScriptedFault, word: str):
    reply, calls = answered_with(fault)
    assert (reply.status, calls) == ("failed", 1)
    assert word in reply.raw


@pytest.mark.parametrize(
    "fault",
    [
        ScriptedFault.error(500, "engine died"),
        ScriptedFault.late(5.0),
        ScriptedFault.connection_reset(),
        ScriptedFault.too_many(retry_after="0.01"),
    ],
)
def test_what_may_yet_succeed_is_tried_again(fault: ScriptedFault):
    reply, calls = answered_with(fault, max_retries=1)
    assert (reply.text, calls) == (" words for weather", 2)


def test_retry_after_is_honoured():
    start = time.monotonic()
    reply, calls = answered_with(*[ScriptedFault.too_many(retry_after="0.6")] * 2, max_retries=2)
    assert (reply.status, calls) == ("ok", 3)
    assert time.monotonic() - start >= 1.2  # by itself the client would wait 0.5 s before its first retry


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ScriptedFault.error(400, "prompt is too long"), "prompt is too long"),
        (ScriptedFault.error(404, "model m does not exist"), "model m does not exist"),
        (ScriptedFault(404, '{"detail": "Not Found"}'), "mostly ends in /v1"),
        (ScriptedFault.error(429, "pay first", code="insufficient_quota"), "no credit left"),
    ],
)
def test_what_can_never_succeed_ends_the_run_with_the_servers_words(fault: ScriptedFault, words: str):
    with pytest.raises(LLMError, match=words):
        answered_with(fault, max_retries=0)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_can_never_succeed_is_not_tried_again(status: int):
    with ScriptedServer(Weather(), faults=[ScriptedFault.error(status, "no")]) as scripted:
        with pytest.raises(LLMError, match="no"):
            asked(OpenAIServer("m", base_url=scripted.base_url, drive=Drive(max_retries=5)))
        assert len(scripted.calls) == 1


def test_a_refused_key_names_server_and_variable_and_not_the_key():
    with ScriptedServer(Weather(), api_key="another") as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url, api_key=KEY)
        with pytest.raises(LLMError, match=r"refused the key.*NEUROSCRIBE_LLM_API_KEY") as raised:
            asked(server)
        assert scripted.base_url in str(raised.value)
    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("before", range(285, 301))
def test_no_part_of_a_key_is_left_where_a_servers_words_are_cut_short(before: int):
    fault = ScriptedFault.error(400, f"{'x' * before}{KEY}")
    with ScriptedServer(Weather(), faults=[fault]) as scripted:
        with pytest.raises(LLMError) as raised:
            asked(OpenAIServer("m", base_url=scripted.base_url, api_key=KEY))
        assert KEY[:4] not in str(raised.value)


def test_a_key_is_blotted_out_however_json_spells_it():
    key = 'sk-a/b"c\\d-long'
    endpoint = Endpoint("m", "http://x/v1", ChatWire("m"), key)
    written = json.dumps({"said": key})
    for text in (key, written, written.replace("/", "\\/")):
        shown = endpoint.without_key(text)
        assert "[key]" in shown
        assert "long" not in shown


def test_a_missing_key_is_asked_for():
    with ScriptedServer(Weather(), api_key=KEY) as scripted, pytest.raises(LLMError, match="none was given"):
        asked(OpenAIServer("m", base_url=scripted.base_url))


def test_the_key_is_in_no_representation_log_record_or_reply(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    quoting = sent(message={"content": f"You sent {KEY}"}, finish_reason="stop")
    faults = [
        ScriptedFault.too_many(retry_after="0.01"),
        ScriptedFault.error(500, f"{KEY} broke me"),
        quoting,
    ]
    with ScriptedServer(Weather(), api_key=KEY, faults=faults) as scripted:
        patient = OpenAIServer(
            "m", base_url=scripted.base_url, api_key=f" {KEY}\n", drive=Drive(max_retries=1)
        )
        replies = [asked(patient), asked(patient), asked(patient)]
    assert [reply.status for reply in replies] == ["failed", "ok", "ok"]
    assert "[key]" in replies[0].raw
    assert caplog.records
    told = [repr(patient), *map(repr, replies), *(record.getMessage() for record in caplog.records)]
    assert not [text for text in told if KEY in text]


def test_a_server_that_is_not_there_is_named_with_the_remedy():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    with pytest.raises(LLMError, match=rf"no LLM server answers at {url}.*start it"):
        asked(OpenAIServer("m", base_url=url, drive=Drive(max_retries=0)))


def test_no_more_calls_than_allowed_are_in_flight():
    async def crowd(server: OpenAIServer) -> list[Reply]:
        calls = [server.reply(QUESTION, max_tokens=60, temperature=1.0, seed=seed) for seed in range(12)]
        return await asyncio.gather(*calls)

    with ScriptedServer(Weather(), faults=[ScriptedFault.late(0.05)] * 12) as scripted:
        replies = asyncio.run(crowd(OpenAIServer("m", base_url=scripted.base_url, concurrency=3)))
        assert [reply.status for reply in replies] == ["ok"] * 12
        assert scripted.most_at_once == 3


def test_one_server_serves_several_event_loops():
    with ScriptedServer(Weather()) as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url)
        assert asked(server).text == asked(server).text == " words for weather"


def test_the_newer_name_of_the_length_limit_is_learnt():
    unknown = ScriptedFault.error(400, "'max_tokens' is not supported, use 'max_completion_tokens' instead")
    with ScriptedServer(Weather(), faults=[unknown]) as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url)
        assert [asked(server).status, asked(server).status] == ["ok", "ok"]
        limits = [[name for name in body if name.startswith("max_")] for _, body in scripted.calls]
        assert limits == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]


def test_a_client_that_is_handed_in_is_used_and_left_open():
    def answer(request: httpx2.Request) -> httpx2.Response:
        choice = {"message": {"content": request.url.host}, "finish_reason": "stop"}
        return httpx2.Response(200, json={"choices": [choice]})

    async def twice() -> list[str | None]:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            server = OpenAIServer("m", base_url="https://llm.example/v1", http_client=client)
            calls = [await server.reply(QUESTION, max_tokens=1, temperature=0.0, seed=0) for _ in range(2)]
            return [call.text for call in calls]

    assert asyncio.run(twice()) == ["llm.example", "llm.example"]


def test_the_identity_does_not_depend_on_the_address():
    here = OpenAIServer("m", base_url="http://127.0.0.1:1/v1")
    there = OpenAIServer("m", base_url="https://llm.example/v1")
    text = OpenAIServer("m", base_url="https://llm.example/v1", prompt_style="completion")
    assert here.identity == there.identity != text.identity


def test_a_server_that_is_well_passes_the_check():
    with ScriptedServer(Weather(), api_key=KEY) as scripted:
        asyncio.run(OpenAIServer("m", base_url=scripted.base_url, api_key=KEY).check())
        assert len(scripted.calls) == 1


def test_a_web_page_does_not_pass_the_check():
    with (
        ScriptedServer(Weather(), faults=[ScriptedFault.page()]) as scripted,
        pytest.raises(LLMError, match="OpenAI-compatible"),
    ):
        asyncio.run(OpenAIServer("m", base_url=scripted.base_url).check())


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000/v1", "ftp://llm.example", "http://", "http://me:pw@llm.example/v1"]
)
def test_an_address_that_cannot_be_used_is_refused_at_once(url: str):
    with pytest.raises(LLMError, match="address of the LLM server"):
        OpenAIServer("m", base_url=url)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str):
    with pytest.raises(LLMError, match="NEUROSCRIBE_LLM_API_KEY") as raised:
        OpenAIServer("m", base_url="http://127.0.0.1:1/v1", api_key=key)
    assert key not in str(raised.value)
