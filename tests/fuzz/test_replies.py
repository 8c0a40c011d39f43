"""Whatever a server sends is read as a value or raised as one of our errors, and is no answer by chance.

Bodies are those of real servers with parts replaced by others, cut, or written in bytes that are no text.
"""

import asyncio
import copy
import json
from contextlib import suppress
from typing import Any

import httpx2
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.errors import LLMError
from neuroscribe.explain.parsing import parsed_answer
from neuroscribe.judge.judges import judged_by_first_token, judged_by_text
from neuroscribe.ports.replies import EchoedPrompt, Message, Reply, Usage
from neuroscribe.testing.server_bodies import answer_body, echo_body, error_body
from neuroscribe.text.escaping import storable
from resources.llm.anthropic_wire import MessagesWire
from resources.llm.charsets import decoded
from resources.llm.ends import end
from resources.llm.faults import Endpoint, RejectedError, UnansweredError, WithheldError, of_status
from resources.llm.openai_wire import (
    ChatWire,
    CompletionWire,
    LogprobsMissingError,
    read_echo,
    read_next_token,
)
from resources.llm.prices import Prices
from resources.llm.refusals import refused_part
from resources.llm.server import SERVERS, OpenAIServer
from resources.llm.transport import Drive
from resources.llm.wires import Body, Question, Wire

PROMPT = "Token and value:\n cat\t7\n dog\t2\n"
TURNS = [Message("system", "Be brief."), Message("user", "rain?"), Message("assistant", "It:")]
QUESTION = Question(TURNS, 9, 0.0, seed=0, one_line=True)
SCHEMA = {"type": "object", "properties": {"short": {"type": "string"}}}
WIRES: list[type[Wire]] = [ChatWire, CompletionWire, MessagesWire]
TOPS = {"content": [{"token": "7", "logprob": -0.1, "top_logprobs": [{"token": "7", "logprob": -0.1}]}]}
ECHO = {"prompt": PROMPT, "logprobs": 2}
REAL: list[Any] = [
    json.loads(answer_body("p", "words", model="m", logprobs=TOPS)),
    json.loads(answer_body("p", "words", model="m", chat=False)),
    *(
        json.loads(echo_body(ECHO, lambda _, tokens: [0] * len(tokens), dialect=dialect, model="m"))
        for dialect in ("legacy", "chat_shaped")
    ),
    {
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "words"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 4, "cache_read_input_tokens": 1, "output_tokens": 2},
    },
    {"content": [{"type": "tool_use", "input": {"short": "a"}}], "stop_reason": "tool_use", "usage": {}},
]
ERRORS: list[Any] = [
    json.loads(error_body("Unsupported value: 'temperature' does not support 0 with this model")),
    {"error": {"message": "no", "param": "seed"}},
    {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": {"seed": 0}}]},
    {"error": "System role not supported"},
    {"type": "error", "error": {"type": "invalid_request_error", "message": "prefill"}},
    {"error": {"message": "no form", "code": 400, "metadata": {"reasons": ["violence"]}}},
]
WORDS = st.sampled_from(
    ["stop", "length", "error", "SAFETY", "assistant", "user", "text", "tool_use", "end_turn", "refusal",
     "yes", "seed", "'seed'", "temperature:", "system role", "max_tokens", "prefill", "body", "{", "\ud800",
     "\x00", PROMPT]
)  # fmt: skip
KEYS = st.sampled_from(
    ["choices", "message", "content", "text", "role", "finish_reason", "refusal", "logprobs", "top_logprobs",
     "tokens", "token", "logprob", "usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details",
     "cached_tokens", "type", "input", "stop_reason", "error", "param", "loc", "detail", "code", "metadata"]
)  # fmt: skip
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -1, 0, 1e308, 10**9])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def bodies(draw: st.DrawFn, real: list[Any]) -> bytes:
    """A real body with some of its parts replaced, dropped or doubled, written well or badly."""
    body = copy.deepcopy(draw(st.sampled_from(real))) if draw(st.integers(0, 9)) else draw(VALUES)
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(body))
        if places:
            parent, key = draw(st.sampled_from(places))
            parent[key] = draw(VALUES) if draw(st.booleans()) else [parent[key], parent[key]]
    encoding = draw(st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-32-be"]))
    data = json.dumps(body, ensure_ascii=draw(st.booleans())).encode(encoding, "surrogatepass")
    match draw(st.integers(0, 11)):
        case 0:
            return data[: draw(st.integers(0, len(data)))]
        case 1:
            at = draw(st.integers(0, len(data)))
            return data[:at] + draw(st.binary(max_size=5)) + data[at:]
        case 2:
            return draw(st.binary(max_size=50))
        case 3:
            return b"[" * draw(st.integers(0, 3000)) + data
        case _:
            return data


def _places(value: Any) -> Any:
    """Every key or index below a value, with what holds it."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def is_sound(usage: Usage) -> bool:
    counts = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
    return all(0 <= count <= 2 * 10**9 for count in counts)


@given(data=bodies(REAL), refused=st.booleans())
def test_a_body_is_a_reply_with_a_text_exactly_where_it_is_ok_or_cut_off(data: bytes, refused: bool) -> None:
    body = Body(decoded(data))
    for kind in WIRES:
        wire = kind("m")
        wire.refused = frozenset({"stop"} if refused else ())
        usage = wire.usage(body, Prices(prompt=1.0, completion=1.0))
        reply = wire.reply(body, usage)
        assert is_sound(usage)
        assert isinstance(reply.text, str) == (reply.status in ("ok", "truncated"))
        assert wire.broke_off(body) in (True, False)
        read(reply)


def read(reply: Reply) -> None:
    """What becomes of a reply: an explanation that can be stored, or a judgement."""
    judged_by_text(reply)
    for form in ("line", "schema"):
        parsed = parsed_answer(storable(reply.text or ""), form=form)
        assert isinstance(parsed.text, str) == (parsed.status == "ok")
        (parsed.text or "").encode()


@given(data=bodies(REAL))
def test_log_probabilities_are_read_or_missing(data: bytes) -> None:
    body = Body(decoded(data))
    judged_by_first_token(first := read_next_token(body, Usage()))
    assert (first.status == "ok") == bool(first.top_logprobs)
    try:
        echoed = read_echo(body, PROMPT, Usage())
    except LogprobsMissingError:
        return
    assert isinstance(echoed, EchoedPrompt)
    assert len(echoed.offsets) == len(echoed.top_logprobs)
    assert list(echoed.offsets) == sorted(echoed.offsets)


@given(data=bodies(ERRORS), status=st.sampled_from([400, 401, 403, 404, 413, 422, 429, 500, 501, 503]))
def test_an_error_is_one_of_ours_and_names_at_most_what_was_sent(data: bytes, status: int) -> None:
    for kind in WIRES:
        wire = kind("m")
        endpoint = Endpoint("m", "http://llm.example/v1", wire, "sk-very-secret")
        met = of_status(httpx2.Response(status, content=data), endpoint)
        assert isinstance(met, LLMError | UnansweredError | WithheldError)
        if isinstance(met, RejectedError):
            request = wire.request(QUESTION)
            part = refused_part(met.said, met.sent, request.body, wire.optional(request))
            assert part in {None, *wire.optional(request)}


@given(
    sent=st.lists(
        st.tuples(st.sampled_from([200, 200, 400, 422, 500]), bodies(REAL) | bodies(ERRORS)),
        min_size=1,
        max_size=6,
    ),
    provider=st.sampled_from(sorted(SERVERS)),
    schema=st.booleans(),
)
def test_a_question_ends_in_a_reply_or_in_an_error_of_ours_after_few_requests(
    sent: list[tuple[int, bytes]], provider: str, schema: bool
) -> None:
    asked = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        status, data = sent[asked % len(sent)]
        asked += 1
        return httpx2.Response(status, content=data)

    async def ask() -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            server = SERVERS[provider](
                "m", base_url="http://llm.example", drive=Drive(max_retries=0), http_client=client
            )
            await server.reply(
                TURNS, max_tokens=9, temperature=0.0, seed=0, schema=SCHEMA if schema else None
            )
            if isinstance(server, OpenAIServer):
                await server.next_token(TURNS)
                await server.echoed(PROMPT)

    with suppress(LLMError):
        asyncio.run(ask())
    assert asked <= 60


@given(
    data=st.binary(max_size=200),
    charset=st.text(max_size=12) | st.sampled_from(["utf-7", "idna", "cp037", "rot13"]),
)
def test_bytes_are_text_in_whatever_charset_they_claim_to_be(data: bytes, charset: str) -> None:
    assert isinstance(decoded(data, charset), str)
    assert isinstance(decoded(data), str)


@given(reason=VALUES)
def test_an_end_is_one_of_five(reason: Any) -> None:
    assert end(reason) in ("whole", "cut", "withheld", "broken", "unknown")
