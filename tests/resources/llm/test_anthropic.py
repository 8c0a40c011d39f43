"""Anthropic's messages API over real HTTP, against a server that is as strict as it about requests."""

import asyncio
import json
from collections.abc import Collection
from typing import Any

import pytest

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.llm.capabilities import check_llm
from neuroscribe.ports.models import LLM, NextTokenScorer, PromptScorer
from neuroscribe.ports.replies import Message, Reply, Usage
from neuroscribe.testing.server_messages import MessagesServer, messages_error
from neuroscribe.testing.servers import ScriptedFault
from neuroscribe.testing.stores import MemoryCalls
from neuroscribe.testing.studies import tiny_study
from resources.llm.anthropic_wire import MessagesWire
from resources.llm.prices import Prices
from resources.llm.server import AnthropicServer
from resources.llm.transport import Drive
from resources.llm.wires import Body, Question

KEY = "sk-ant-very-secret-0123456789"
QUESTION = [
    Message("system", "Be brief."),
    Message("user", "Rain?"),
    Message("assistant", "Wet."),
    Message("user", "Snow?"),
    Message("assistant", "Explanation: "),
]
SCHEMA = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
PRICES = Prices(prompt=3.0, cached=0.3, completion=15.0)


class Weather:
    """Says one thing about everything."""

    def reply(self, prompt: str) -> str:
        return " words for weather"

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        raise AssertionError


def opened(scripted: MessagesServer, *, retries: int = 0, **options: Any) -> AnthropicServer:
    return AnthropicServer(
        "claude", base_url=scripted.base_url, api_key=KEY, drive=Drive(max_retries=retries), **options
    )


def asked(server: AnthropicServer, **changed: Any) -> Reply:
    options = {"max_tokens": 60, "temperature": 0.5, "seed": 7, **changed}
    return asyncio.run(server.reply(QUESTION, **options))


def answered_with(*faults: ScriptedFault, retries: int = 0) -> tuple[Reply, int]:
    """The reply after these faults, and the number of requests it took."""
    with MessagesServer(Weather(), api_key=KEY, faults=faults) as scripted:
        reply = asked(opened(scripted, retries=retries))
        return reply, len(scripted.calls)


def sent(*blocks: object, stop_reason: object = "end_turn") -> ScriptedFault:
    return ScriptedFault(200, json.dumps({"content": blocks, "stop_reason": stop_reason}))


def text(said: object) -> dict[str, object]:
    return {"type": "text", "text": said}


def test_a_question_has_its_system_text_apart_and_an_answer_that_is_begun():
    with MessagesServer(Weather(), api_key=KEY) as scripted:
        server: LLM = opened(scripted)
        reply = asyncio.run(server.reply(QUESTION, max_tokens=60, temperature=0.5, seed=7))
        assert (reply.text, reply.status) == (" words for weather", "ok")
        assert scripted.calls == [
            (
                "/v1/messages",
                {
                    "model": "claude",
                    "max_tokens": 60,
                    "system": "Be brief.",
                    "messages": [
                        {"role": "user", "content": "Rain?"},
                        {"role": "assistant", "content": "Wet."},
                        {"role": "user", "content": "Snow?"},
                        {"role": "assistant", "content": "Explanation:"},
                    ],
                    "temperature": 0.5,
                    "thinking": {"type": "disabled"},
                },
            )
        ]


@pytest.mark.parametrize("rejects", [["prefill"], ["temperature"], ["thinking"], ["temperature", "prefill"]])
def test_what_a_model_rejects_it_is_asked_without_from_then_on(rejects: Collection[str]):
    with MessagesServer(Weather(), api_key=KEY, rejects=rejects) as scripted:
        server = opened(scripted)
        assert [asked(server).text, asked(server).text] == [" words for weather"] * 2
        bodies = [body for _, body in scripted.calls]
    assert len(bodies) == len(rejects) + 2
    for body in bodies[-2:]:
        begun = body["messages"][-1]["role"] == "assistant"
        kept = {"prefill": begun, "temperature": "temperature" in body, "thinking": "thinking" in body}
        assert {name for name, there in kept.items() if not there} == set(rejects)


def test_calls_that_are_rejected_together_all_go_on_without_it():
    async def crowd(server: AnthropicServer) -> list[Reply]:
        calls = [server.reply(QUESTION, max_tokens=9, temperature=0.0, seed=seed) for seed in range(6)]
        return await asyncio.gather(*calls)

    with MessagesServer(Weather(), api_key=KEY, rejects=["prefill"]) as scripted:
        scripted.faults = [ScriptedFault.late(0.05)] * 6
        replies = asyncio.run(crowd(opened(scripted)))
        assert [reply.status for reply in replies] == ["ok"] * 6
        assert len(scripted.calls) == 12


def test_a_rejection_that_is_about_something_else_ends_the_run_after_one_request():
    with MessagesServer(
        Weather(), api_key=KEY, faults=[messages_error(400, "prompt is too long")]
    ) as scripted:
        with pytest.raises(LLMError, match="prompt is too long"):
            asked(opened(scripted))
        assert len(scripted.calls) == 1


def test_a_temperature_that_the_api_does_not_know_is_refused_before_it_is_sent():
    with MessagesServer(Weather(), api_key=KEY) as scripted:
        with pytest.raises(LLMError, match=r"temperature = 1\.5 is more than the 1 .*lower it"):
            asked(opened(scripted), temperature=1.5)
        assert scripted.calls == []


def test_json_comes_through_a_tool_that_has_its_schema():
    with MessagesServer(Weather(), api_key=KEY) as scripted:
        reply = asked(opened(scripted), schema=SCHEMA)
        [(_, body)] = scripted.calls
    assert (reply.text, reply.status) == ('{"words": ""}', "ok")
    assert body["tool_choice"] == {"type": "tool", "name": "answer"}
    assert [tool["input_schema"] for tool in body["tools"]] == [SCHEMA]
    assert body["messages"][-1]["role"] == "user"  # a tool's call cannot be begun


def test_a_model_that_cannot_be_made_to_call_a_tool_is_asked_by_the_prompt_and_that_is_kept():
    calls = MemoryCalls()
    with MessagesServer(Weather(), api_key=KEY, rejects=["tool_choice"]) as scripted:
        for _ in range(2):  # the second run knows what the first found
            assert asked(opened(scripted, calls=calls), schema=SCHEMA).text == " words for weather"
        assert ["tools" in body for _, body in scripted.calls] == [True, False, False]


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (sent(text("wet"), text(" snow")), "ok", "wet snow"),
        (sent({"type": "thinking", "thinking": "hm"}, text("wet")), "ok", "wet"),
        (sent(text("wet"), stop_reason="stop_sequence"), "ok", "wet"),
        (sent(), "ok", ""),
        (sent(text("we"), stop_reason="max_tokens"), "truncated", "we"),
        (sent({"type": "thinking", "thinking": "hm"}, stop_reason="max_tokens"), "truncated", ""),
        (sent(text("we"), stop_reason="model_context_window_exceeded"), "truncated", "we"),
        (sent(text("I w"), stop_reason="refusal"), "refused", None),
        (sent(text("wet"), stop_reason=None), "failed", None),
        (ScriptedFault(200, '{"content": "wet", "stop_reason": "end_turn"}'), "failed", None),
        (ScriptedFault(200, '{"type": "error", "error": {"message": "Overloaded"}}'), "failed", None),
        (ScriptedFault.page(), "failed", None),
    ],
)
def test_an_answer_is_read_with_its_reason_to_stop(fault: ScriptedFault, status: str, said: str | None):
    reply, calls = answered_with(fault)
    assert (reply.status, reply.text, reply.raw, calls) == (status, said, fault.body, 1)


@pytest.mark.parametrize("block", [None, "wet", {}, {"type": "text"}, text(None), text(7)])
def test_a_block_that_holds_no_text_says_nothing(block: object):
    reply, _ = answered_with(sent(block, text("wet")))
    assert reply.text == "wet"


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        # 4 new tokens, 10 from the cache, 2 written: 12, 3 and 30 millionths of a dollar.
        ({"input_tokens": 4, "cache_read_input_tokens": 10, "output_tokens": 2}, Usage(14, 10, 2, 45e-6)),
        (
            {"input_tokens": 4, "cache_read_input_tokens": None, "cache_creation_input_tokens": 0,
             "output_tokens": 2},
            Usage(4, 0, 2, 42e-6),
        ),
        # What is put into the cache costs more than a prompt does, and no price says how much.
        ({"input_tokens": 4, "cache_creation_input_tokens": 6, "output_tokens": 2}, Usage(10, 0, 2, None)),
        ({"input_tokens": 4}, Usage(4, 0, 0, None)),
        ({"input_tokens": 4, "cache_read_input_tokens": "many", "output_tokens": 2}, Usage(0, 0, 2, None)),
        ({"prompt_tokens": 4, "completion_tokens": 2}, Usage(0, 0, 0, None)),
    ],
)  # fmt: skip
def test_tokens_are_counted_with_those_of_the_cache(usage: dict[str, object], counted: Usage):
    found = MessagesWire("claude").usage(Body(json.dumps({"usage": usage})), PRICES)
    assert found.cost_usd == (counted.cost_usd and pytest.approx(counted.cost_usd))
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (
        counted.prompt_tokens,
        counted.cached_tokens,
        counted.completion_tokens,
    )


def test_money_is_counted_by_the_prices():
    with MessagesServer(Weather(), api_key=KEY) as scripted:
        usage = asked(opened(scripted, prices=PRICES)).usage
    # "Be brief. Rain? Wet. Snow? Explanation:" with three blank lines between, and three words.
    assert (usage.prompt_tokens, usage.completion_tokens) == (19, 3)
    assert usage.cost_usd == pytest.approx((19 * 3 + 3 * 15) / 1e6)


@pytest.mark.parametrize(
    "fault",
    [
        messages_error(529, "Overloaded", kind="overloaded_error"),
        messages_error(429, "slow down", kind="rate_limit_error", retry_after="0.01"),
        messages_error(500, "Internal server error", kind="api_error"),
        ScriptedFault(200, '{"content": [{"type"'),
        ScriptedFault.connection_reset(),
    ],
)
def test_what_may_yet_succeed_is_tried_again(fault: ScriptedFault):
    reply, calls = answered_with(fault, retries=1)
    assert (reply.text, calls) == (" words for weather", 2)


def test_a_prompt_that_a_filter_turns_away_is_refused():
    reply, calls = answered_with(messages_error(400, "Output blocked by content filtering policy"))
    assert (reply.status, reply.text, calls) == ("refused", None, 1)


CAPPED = {"message": "cap reached", "details": {"error_code": "enforced_spend_limit_reached"}}


@pytest.mark.parametrize(
    "fault",
    [
        messages_error(400, "Your credit balance is too low to access the Anthropic API."),
        messages_error(400, "You have reached your specified API usage limits."),
        messages_error(402, "pay first", kind="billing_error"),
        ScriptedFault(429, json.dumps({"type": "error", "error": CAPPED})),
    ],
)
def test_an_account_without_money_ends_the_run_at_once(fault: ScriptedFault):
    with pytest.raises(LLMError, match="no credit left"):
        answered_with(fault, retries=3)


def test_a_key_that_is_refused_is_named_by_its_variable_and_not_shown():
    with (
        MessagesServer(Weather(), api_key="another") as scripted,
        pytest.raises(LLMError, match=r"refused the key .*invalid x-api-key.*NEUROSCRIBE_LLM_API_KEY") as met,
    ):
        asked(opened(scripted))
    assert KEY not in str(met.value)


def test_a_redirect_to_another_server_takes_neither_key_nor_prompt_along():
    with MessagesServer(Weather(), api_key=KEY) as other:
        away = ScriptedFault(307, "", {"location": f"{other.base_url}/v1/messages"})
        with pytest.raises(LLMError, match=f"write {other.base_url} as base_url"):
            answered_with(away)
        assert other.calls == []


def test_an_address_that_goes_on_to_v1_is_answered_with_how_it_should_be():
    with MessagesServer(Weather()) as scripted:
        server = AnthropicServer("claude", base_url=f"{scripted.base_url}/v1")
        with pytest.raises(LLMError, match=r"speaks Anthropic's messages API, whose address ends before /v1"):
            asyncio.run(server.check())


def test_a_server_that_is_well_passes_the_check_with_one_call():
    with MessagesServer(Weather(), api_key=KEY) as scripted:
        asyncio.run(opened(scripted).check())
        assert len(scripted.calls) == 1


def test_simulators_that_read_log_probabilities_are_refused_with_those_that_work():
    with MessagesServer(Weather(), api_key=KEY) as scripted:
        server = opened(scripted)
        assert not isinstance(server, PromptScorer | NextTokenScorer)
        for need in ("prompt_logprobs", "next_token"):
            with pytest.raises(CapabilityError, match=r"claude \(messages\) gives no log-prob") as met:
                asyncio.run(check_llm(tiny_study(), server, {need}))  # type: ignore[arg-type]
            named = str(met.value).partition("It can do: ")[2].partition(".")[0].split(", ")
            assert {"matching_words", "structured", "embedding", "token_match"} == set(named)


def test_a_question_of_nothing_but_a_begun_answer_has_no_blank_turn():
    turns = [Message("user", "Snow?"), Message("assistant", " \n")]
    request = MessagesWire("claude").request(Question(turns, 9, 0.0))
    assert request.body["messages"] == [{"role": "user", "content": "Snow?"}]
    assert request.characters == len("Snow?")
