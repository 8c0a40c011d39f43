"""What a server says of its end decides whether there is an answer: only good words make one."""

import json

import pytest

from neuroscribe.ports.replies import EchoedPrompt, NextToken, Reply, Usage
from resources.llm.anthropic_wire import MessagesWire
from resources.llm.ends import end
from resources.llm.openai_wire import ChatWire, CompletionWire, read_echo, read_next_token
from resources.llm.wires import Body

WHOLE = ["stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "FinishReason.STOP"]
CUT = ["length", "max_tokens", "MAX_TOKENS", "FINISH_REASON_MAX_TOKENS", "model_length", "maxTokens"]
WITHHELD = [
    "content_filter",
    "content-filter",
    "SAFETY",
    "refusal",
    "content_filter: RECITATION",
    "sensitive",
]
BROKEN = ["error", "abort", "insufficient_system_resource", "network_error", "ERROR", "cancelled"]
UNKNOWN = ["", "stopped by the weather", "pause_turn", "tool_calls", "unstop", None, 0, True, ["stop"], {}]
TOPS = {"content": [{"token": "7", "top_logprobs": [{"token": "7", "logprob": -0.1}]}]}


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        *[(said, "whole") for said in WHOLE],
        *[(said, "cut") for said in CUT],
        *[(said, "withheld") for said in WITHHELD],
        *[(said, "broken") for said in BROKEN],
        *[(said, "unknown") for said in UNKNOWN],
    ],
)
def test_a_closed_list_of_ends_says_what_each_means(said: object, meaning: str):
    assert end(said) == meaning


def chat(reason: object, **message: object) -> Reply:
    choice = {"message": {"role": "assistant", "content": "words", **message}, "finish_reason": reason}
    return ChatWire("m").reply(Body(json.dumps({"choices": [choice]})), Usage())


def messages(reason: object) -> Reply:
    body = {"content": [{"type": "text", "text": "words"}], "stop_reason": reason}
    return MessagesWire("m").reply(Body(json.dumps(body)), Usage())


def completion(reason: object) -> Reply:
    body = {"choices": [{"text": "words", "finish_reason": reason}]}
    return CompletionWire("m").reply(Body(json.dumps(body)), Usage())


@pytest.mark.parametrize("wire", [chat, messages, completion])
@pytest.mark.parametrize(
    ("reasons", "status", "text"),
    [
        (WHOLE, "ok", "words"),
        (CUT, "truncated", "words"),
        (WITHHELD, "refused", None),
        (BROKEN, "failed", None),
        (UNKNOWN, "failed", None),
    ],
)
def test_every_wire_takes_an_answer_for_whole_only_if_it_ended_well(
    wire: object, reasons: list[object], status: str, text: str | None
):
    assert callable(wire)
    replies: list[Reply] = [wire(reason) for reason in reasons]
    assert {(reply.status, reply.text) for reply in replies} == {(status, text)}
    assert all("words" in reply.raw for reply in replies)


def test_an_answer_without_a_reason_to_end_is_not_known_to_be_whole():
    body = Body(json.dumps({"choices": [{"message": {"content": "words"}}]}))
    assert ChatWire("m").reply(body, Usage()).status == "failed"


def test_a_tool_call_is_an_end_where_the_tool_was_called():
    call = {"type": "tool_use", "input": {"short": "rain"}}
    for blocks, said in (([call], ("ok", '{"short": "rain"}')), ([], ("failed", None))):
        body = Body(json.dumps({"content": blocks, "stop_reason": "tool_use"}))
        reply = MessagesWire("m").reply(body, Usage())
        assert (reply.status, reply.text) == said


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("assistant", "ok"),
        ("Assistant", "ok"),
        ("model", "ok"),
        (None, "ok"),
        ("user", "failed"),
        ("x", "failed"),
    ],
)
def test_what_somebody_else_than_the_model_says_is_no_answer(role: object, status: str):
    assert chat("stop", role=role).status == status


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("length", "ok"),
        ("stop", "ok"),
        (None, "ok"),
        ("abort", "failed"),
        ("weather", "failed"),
        ("SAFETY", "refused"),
    ],
)
def test_log_probabilities_count_unless_their_answer_is_said_to_have_ended_badly(reason: object, status: str):
    choice = {"text": "7 cats", "logprobs": TOPS, "finish_reason": reason}
    body = Body(json.dumps({"choices": [choice]}))
    read: list[NextToken | EchoedPrompt] = [read_next_token(body, Usage()), read_echo(body, "7", Usage())]
    assert [each.status for each in read] == [status] * 2
    assert [bool(each.top_logprobs) for each in read] == [status == "ok"] * 2
