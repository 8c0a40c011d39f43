"""What goes wrong on the wire is brought about on purpose: nothing of it stops a run or becomes an answer."""

import asyncio
import json
from collections import Counter

import pytest

from neuroscribe.ports.replies import Message, NextToken, Reply
from neuroscribe.testing.server_bodies import answer_body
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from resources.llm.charsets import decoded
from resources.llm.server import OpenAIServer
from resources.llm.transport import Drive

WRONG = "the answer to another question"
WHOLE = answer_body("p", WRONG, model="m")
CHOICE = json.loads(WHOLE)["choices"][0]
SHORT = 3.0
"""Seconds that a server may take here."""


class Weather:
    """Says one sentence about everything."""

    def reply(self, prompt: str) -> str:
        return f"heard {prompt}"

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        return [0] * len(tokens)


def sent(**body: object) -> ScriptedFault:
    return ScriptedFault(200, json.dumps({**json.loads(WHOLE), **body}))


LASTING = {
    "a page from a proxy": ScriptedFault.page(),
    "no choices": sent(choices=[]),
    "two choices": sent(choices=[CHOICE, CHOICE]),
    "the answer twice in a body": ScriptedFault(200, WHOLE + WHOLE),
    "an empty body": ScriptedFault(200, ""),
}
PASSING = {
    "half a body": ScriptedFault(200, WHOLE[:60]),
    "a connection reset before the answer": ScriptedFault.connection_reset(),
    "a connection reset within the answer": ScriptedFault.connection_cut(WHOLE),
    "no gzip": ScriptedFault.garbled(),
    "429 with Retry-After": ScriptedFault.too_many(retry_after="0.01"),
    "429 without": ScriptedFault.too_many(),
    "500": ScriptedFault.error(500, "engine died"),
    "an error as a success": ScriptedFault(200, json.dumps({"error": {"message": "out of memory"}})),
}


def asked(*faults: ScriptedFault, retries: int) -> tuple[Reply, int]:
    with ScriptedServer(Weather(), faults=faults) as scripted:
        drive = Drive(max_retries=retries)
        server = OpenAIServer("m", base_url=scripted.base_url, drive=drive, timeout_s=SHORT)
        question = [Message("user", "rain?")]
        reply = asyncio.run(server.reply(question, max_tokens=9, temperature=0.0, seed=0))
        return reply, len(scripted.calls)


@pytest.mark.parametrize("name", LASTING)
def test_a_body_that_is_no_answer_is_a_failed_reply_that_is_kept_and_not_asked_for_again(name: str):
    reply, calls = asked(LASTING[name], retries=3)
    assert (reply.status, reply.text, reply.raw, calls) == ("failed", None, LASTING[name].body, 1)


@pytest.mark.parametrize("name", PASSING)
def test_an_answer_that_did_not_arrive_whole_is_asked_for_again(name: str):
    reply, calls = asked(PASSING[name], retries=1)
    assert (reply.status, reply.text, calls) == ("ok", "heard rain?", 2)


@pytest.mark.parametrize("name", PASSING)
def test_what_never_arrives_whole_is_a_failed_reply(name: str):
    reply, calls = asked(*[PASSING[name]] * 2, retries=1)
    assert (reply.status, reply.text, calls) == ("failed", None, 2)
    assert reply.usage.latency_s is not None


@pytest.mark.parametrize("later", [False, True], ids=["at once", "with the next question"])
def test_an_answer_that_is_delivered_twice_answers_no_other_question(later: bool):
    questions = [f"question {number}" for number in range(4)]

    async def all_of_them(server: OpenAIServer, calls: list[object]) -> list[Reply]:
        async def one(question: str) -> Reply:
            return await server.reply([Message("user", question)], max_tokens=9, temperature=0.0, seed=0)

        keeping = asyncio.ensure_future(one("meanwhile"))  # keeps connections open between the others
        while not calls:
            await asyncio.sleep(0.01)
        found = [await one(question) for question in questions]
        await keeping
        return found

    faults = [ScriptedFault.late(2.0), *[ScriptedFault.twice(later=later)] * 3]
    with ScriptedServer(Weather(), faults=faults) as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url, timeout_s=SHORT)
        found = asyncio.run(all_of_them(server, scripted.calls))
    assert [reply.text for reply in found] == [f"heard {question}" for question in questions]


def test_a_run_through_all_of_them_counts_each_and_ends():
    faults = [*LASTING.values(), *PASSING.values()]

    async def all_of_them(server: OpenAIServer) -> list[Reply]:
        question = [Message("user", "rain?")]
        calls = [server.reply(question, max_tokens=9, temperature=0.0, seed=seed) for seed in range(30)]
        return await asyncio.gather(*calls)

    with ScriptedServer(Weather(), faults=faults) as scripted:
        drive = Drive(max_retries=0)
        server = OpenAIServer("m", base_url=scripted.base_url, drive=drive, timeout_s=SHORT)
        found = asyncio.run(all_of_them(server))
    assert Counter(reply.status for reply in found) == {"failed": len(faults), "ok": 30 - len(faults)}
    assert {reply.text for reply in found} == {None, "heard rain?"}


def first_token(*faults: ScriptedFault) -> NextToken:
    with ScriptedServer(Weather(), faults=faults) as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url, drive=Drive(max_retries=0))
        return asyncio.run(server.next_token([Message("user", "rain?")]))


def with_logprobs(*logprobs: str) -> ScriptedFault:
    """An answer whose first token has these log-probabilities, as they stand in JSON."""
    tops = ", ".join(f'{{"token": "{place}", "logprob": {each}}}' for place, each in enumerate(logprobs))
    content = f'{{"content": [{{"token": "0", "logprob": 0, "top_logprobs": [{tops}]}}]}}'
    choice = f'{{"message": {{"content": "0"}}, "logprobs": {content}}}'
    return ScriptedFault(200, f'{{"choices": [{choice}]}}')


@pytest.mark.parametrize(
    "fault",
    [
        sent(choices=[{**CHOICE, "logprobs": None}]),
        sent(choices=[{**CHOICE, "logprobs": {}}]),
        sent(choices=[{**CHOICE, "logprobs": {"content": []}}]),
        sent(choices=[{**CHOICE, "logprobs": {"content": None}}]),
        sent(choices=[{**CHOICE, "logprobs": {"content": [{"token": "0"}]}}]),
        sent(choices=[{**CHOICE, "logprobs": "many"}]),
        with_logprobs(),
        with_logprobs("null"),
        with_logprobs("NaN"),
        with_logprobs("-0.1", "NaN"),
        with_logprobs("-Infinity"),
        with_logprobs("-0.1", "-Infinity"),
        with_logprobs("Infinity"),
        with_logprobs("0.7"),
        with_logprobs("-0.1", "-0.1"),
        with_logprobs('"-0.1"'),
        with_logprobs("true"),
    ],
)
def test_logprobs_that_are_missing_or_cannot_be_such_are_unparsable(fault: ScriptedFault):
    read = first_token(fault)
    assert (read.status, read.top_logprobs, read.raw) == ("unparsable", {}, fault.body)


@pytest.mark.parametrize("name", [*LASTING, *PASSING])
def test_a_first_token_that_does_not_arrive_has_failed(name: str):
    read = first_token({**LASTING, **PASSING}[name])
    assert (read.status, read.top_logprobs) == ("failed", {})
    assert read.raw or name == "an empty body"


def test_logprobs_of_nothing_beside_others_are_left_out():
    assert first_token(with_logprobs("-0.1", "null", "-3.5")).top_logprobs == {"0": -0.1, "2": -3.5}


def said(content: object, **message: object) -> ScriptedFault:
    return sent(choices=[{"message": {"content": content, **message}, "finish_reason": "stop"}])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "wet"}], "wet"),
        ([{"type": "text", "text": "wet"}, {"type": "output_text", "text": " snow"}], "wet snow"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "wet"}], "wet"),
        ([{"type": "reasoning", "text": "hm"}, "wet"], "wet"),
        ({"type": "text", "text": "wet"}, "wet"),
        ({"short": "wet", "long": "wet snow"}, '{"short": "wet", "long": "wet snow"}'),
        ("", ""),
    ],
)
def test_an_answer_is_read_in_whatever_shape_its_content_comes(content: object, text: str):
    reply, _ = asked(said(content), retries=0)
    assert (reply.status, reply.text) == ("ok", text)


@pytest.mark.parametrize(
    "content",
    [None, 7, True, [], {"type": "image"}, [{"type": "reasoning", "text": "hm"}], [[]], [{"text": 7}]],
)
def test_content_without_a_text_is_no_answer(content: object):
    reply, _ = asked(said(content), retries=0)
    assert (reply.status, reply.text) == ("failed", None)
    reply, _ = asked(said(content, refusal="I will not."), retries=0)
    assert (reply.status, reply.text) == ("refused", None)


SNOW = json.dumps({**json.loads(WHOLE), "choices": [{**CHOICE, "message": {"content": "schnée"}}]})
PLAIN = json.dumps(json.loads(SNOW), ensure_ascii=False)


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (b"\xef\xbb\xbf" + PLAIN.encode(), "application/json"),
        (PLAIN.encode("utf-16"), "application/json"),
        (PLAIN.encode("utf-16-le"), "application/json"),
        (PLAIN.encode("utf-32"), "application/json; charset=utf-32"),
        (PLAIN.encode("latin-1"), "application/json; charset=iso-8859-1"),
        (PLAIN.encode("cp1252"), "application/json; charset=windows-1252"),
        (PLAIN.encode(), "application/json; charset=iso-8859-1"),  # declared so and sent otherwise
        (PLAIN.encode(), "application/json; charset=nonsense"),
    ],
)
def test_a_body_is_read_in_the_charset_that_it_is_in(body: bytes, declared: str):
    reply, _ = asked(ScriptedFault(200, body, {"Content-Type": declared}), retries=0)
    assert (reply.status, reply.text) == ("ok", "schnée")


@pytest.mark.parametrize("charset", ["base64", "unicode_escape", "punycode", "hex", "", "\0"])
def test_a_charset_that_is_none_of_texts_is_not_used(charset: str):
    assert decoded(b"caf\xe9 \\u0041", charset) == "caf\ufffd \\u0041"


def test_an_error_in_another_charset_is_read_too():
    error = {"error": {"message": "der Schlüssel 'seed' is unknown"}}
    body = json.dumps(error, ensure_ascii=False).encode("utf-16")
    reply, calls = asked(ScriptedFault(400, body), retries=0)
    assert (reply.status, calls) == ("ok", 2)


class Yes:
    """Says yes to everything, and has one id for all it says."""

    def reply(self, prompt: str) -> ScriptedFault:
        choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
        return ScriptedFault(200, json.dumps({"id": "chatcmpl-1", "choices": [choice]}))

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        raise AssertionError


def test_a_server_whose_ids_are_not_unique_is_doubted_once():
    async def all_of_them(server: OpenAIServer) -> list[Reply]:
        async def one(question: str) -> Reply:
            return await server.reply([Message("user", question)], max_tokens=9, temperature=0.0, seed=0)

        async def in_turn(name: str) -> list[Reply]:
            return [await one(f"{name} {number}") for number in range(6)]

        first, second = await asyncio.gather(in_turn("a"), in_turn("b"))
        return [*first, *second]

    with ScriptedServer(Yes()) as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url, timeout_s=SHORT)
        found = asyncio.run(all_of_them(server))
        assert {reply.text for reply in found} == {"yes"}
        assert len(scripted.calls) == 12 + 1


def test_a_body_that_is_nested_without_end_is_no_answer_however_often_it_comes():
    async def both(server: OpenAIServer) -> list[Reply]:
        ask = ([Message("user", str(number))] for number in range(2))
        calls = (server.reply(turns, max_tokens=9, temperature=0.0, seed=0) for turns in ask)
        return await asyncio.gather(*calls)

    deep = ScriptedFault(200, '{"id": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with ScriptedServer(Weather(), faults=[deep] * 2) as scripted:
        drive = Drive(max_retries=0)
        server = OpenAIServer("m", base_url=scripted.base_url, drive=drive, concurrency=1)
        assert {reply.status for reply in asyncio.run(both(server))} == {"failed"}
