import asyncio
import json
from typing import Any

import pytest

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.ports.models import PromptScorer
from neuroscribe.ports.replies import EchoedPrompt, Usage
from neuroscribe.simulate.prompts import hidden_prompt
from neuroscribe.testing.server_bodies import Dialect
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from resources.llm.openai_wire import CompletionWire, LogprobsMissingError, aligned, read_echo
from resources.llm.prices import Prices
from resources.llm.server import OpenAIServer
from resources.llm.transport import Drive
from resources.llm.wires import Body

TOKENS = [b" rain", b"\n", b"?", b"\t", b" snow", "é".encode(), b"\xff", b" \\", b" dry"]
DIGITS = [9, 0, 0, 0, 8, 0, 0, 0, 0]


class Weather:
    """Fires on rain and snow when the explanation says so."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[str]]] = []

    def reply(self, prompt: str) -> str:
        return " words for weather"

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        self.seen.append((explanation, tokens))
        strength = {"rain": 9, "snow": 8} if "weather" in explanation else {}
        return [strength.get(token.strip(), 0) for token in tokens]


def echoed(
    prompt: str, *faults: ScriptedFault, dialect: Dialect = "legacy"
) -> tuple[EchoedPrompt, list[Any]]:
    with ScriptedServer(Weather(), dialect=dialect, faults=faults) as scripted:
        scorer: PromptScorer = OpenAIServer("m", base_url=scripted.base_url, drive=Drive(max_retries=0))
        return asyncio.run(scorer.echoed(prompt)), [body for _, body in scripted.calls]


@pytest.mark.parametrize("dialect", ["legacy", "chat_shaped"])
def test_every_hidden_value_is_scored_at_its_place_in_the_prompt(dialect: Dialect):
    prompt, places = hidden_prompt("words for weather", TOKENS)
    scored, _ = echoed(prompt, dialect=dialect)
    by_offset = dict(zip(scored.offsets, scored.top_logprobs, strict=True))
    likeliest = [max(by_offset[place], key=by_offset[place].__getitem__) for place in places]
    assert likeliest == [str(digit) for digit in DIGITS]
    assert by_offset[places[0]]["9"] == pytest.approx(-0.01005, abs=1e-5)  # log 0.99


def test_the_script_reads_explanation_and_tokens_off_the_last_block():
    script = Weather()
    with ScriptedServer(script) as scripted:
        prompt, _ = hidden_prompt("words for weather", TOKENS)
        asyncio.run(OpenAIServer("m", base_url=scripted.base_url).echoed(prompt))
    read = [
        " rain",
        "\n",
        "?",
        "\t",
        " snow",
        "é",
        "ÿ",
        " \\",
        " dry",
    ]  # a byte that is no text reads as Latin-1
    assert script.seen == [("words for weather", read)]


def test_the_first_token_has_no_distribution_and_what_was_generated_is_left_out():
    scored, bodies = echoed("one two")
    assert scored.offsets == (0, 3)
    assert scored.top_logprobs[0] == {}
    assert scored.usage.prompt_tokens == 2
    assert bodies == [
        {"model": "m", "prompt": "one two", "echo": True, "logprobs": 20, "max_tokens": 1, "temperature": 0}
    ]


@pytest.mark.parametrize(
    ("dialect", "missing"),
    [("echo_ignored", "`echo` was ignored"), ("no_logprobs", "no log-probabilities came back")],
)
def test_a_server_that_cannot_echo_is_refused_with_what_is_missing(dialect: Dialect, missing: str):
    with ScriptedServer(Weather(), dialect=dialect) as scripted:
        with pytest.raises(CapabilityError, match=missing) as raised:
            asyncio.run(OpenAIServer("m", base_url=scripted.base_url).probe())
        for part in (scripted.base_url, "cannot score prompts", " m:"):
            assert part in str(raised.value)


def test_a_server_that_echoes_passes_the_probe_with_one_call():
    with ScriptedServer(Weather()) as scripted:
        asyncio.run(OpenAIServer("m", base_url=scripted.base_url).probe())
        assert scripted.count("/v1/completions") == len(scripted.calls) == 1


@pytest.mark.parametrize(
    "fault",
    [
        ScriptedFault.error(404, "m is a chat model"),
        ScriptedFault.error(400, "echo and logprobs cannot be combined"),
        ScriptedFault.error(500, "logprobs need logits_all"),
        ScriptedFault.error(501, "not supported here"),
    ],
)
def test_a_server_that_says_it_cannot_echo_is_quoted(fault: ScriptedFault):
    with pytest.raises(CapabilityError, match=json.loads(fault.body)["error"]["message"]):
        echoed("one two", *[fault] * 3)


def test_another_refusal_says_nothing_about_capability():
    with pytest.raises(LLMError, match="too long") as raised:
        echoed("one two", ScriptedFault.error(400, "too long"))
    assert not isinstance(raised.value, CapabilityError)


HALF = '{"choices": [{"text": "one two", "logprobs": {"tokens": ["one"'


@pytest.mark.parametrize(
    ("fault", "status", "raw"),
    [
        (ScriptedFault.error(500, "engine died"), "failed", "HTTP 500: engine died"),
        (ScriptedFault.error(503, "overloaded"), "failed", "HTTP 503: overloaded"),
        (ScriptedFault.error(400, "filtered", code="content_filter"), "refused", "filtered"),
        (ScriptedFault(200, HALF), "failed", HALF),
    ],
)
def test_a_prompt_that_alone_is_not_scored_says_why_and_ends_no_run(
    fault: ScriptedFault, status: str, raw: str
):
    scored, _ = echoed("one two", fault)
    assert (scored.status, scored.raw, scored.offsets) == (status, raw, ())


def test_a_server_that_scores_nothing_does_not_pass_the_probe():
    with ScriptedServer(Weather(), faults=[ScriptedFault.error(500, "engine died")] * 2) as scripted:
        scorer = OpenAIServer("m", base_url=scripted.base_url, drive=Drive(max_retries=0))
        with pytest.raises(LLMError, match=r"scored no prompt.*engine died"):
            asyncio.run(scorer.probe())


def test_fewer_logprobs_are_asked_for_where_20_are_too_many_and_that_is_remembered():
    async def twice(server: OpenAIServer) -> None:
        await server.echoed("one two")
        await server.echoed("one two")

    faults = [ScriptedFault.error(400, "logprobs must be 5 or less")] * 2
    with ScriptedServer(Weather(), faults=faults) as scripted:
        asyncio.run(twice(OpenAIServer("m", base_url=scripted.base_url)))
        assert [body["logprobs"] for _, body in scripted.calls] == [20, 10, 5, 5]


def test_offsets_follow_the_prompt_where_a_character_spans_several_tokens():
    prompt = "a 🌧\t?\nb"
    tokens = ["a", " \ufffd", "\ufffd", "\ufffd", "\t", "?", "\n", "b", "generated"]
    offsets = aligned(prompt, tokens)
    assert [prompt[offset] for offset in offsets] == ["a", " ", " ", " ", "\t", "?", "\n", "b"]


def test_special_tokens_have_no_place_of_their_own():
    assert aligned("one two", ["<s>", "one", "", " two", "</s>"]) == [0, 0, 3, 3]


@pytest.mark.parametrize("tokens", [[], ["one"], ["one", " three"], ["id:17", "id:4"]])
def test_tokens_that_do_not_spell_the_prompt_are_refused(tokens: list[str]):
    with pytest.raises(LogprobsMissingError, match="do not spell the prompt"):
        aligned("one two and more", tokens)


def test_text_offsets_may_be_missing_or_wrong():
    logprobs: dict[str, Any] = {
        "tokens": ["a", "b"],
        "top_logprobs": [None, {"b": -0.1}],
        "text_offset": [3, 4],
    }
    for sent in (logprobs, {**logprobs, "text_offset": None}):
        assert read_echo(body_with(sent), "ab", Usage()).offsets == (0, 1)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"tokens": None, "top_logprobs": None, "content": None},
        {"tokens": ["a", "b"], "top_logprobs": [None]},
        {"tokens": ["a", "b"], "top_logprobs": [None, None]},
        {"content": [{"logprob": -1.0}]},
        {"content": [{"token": "a"}, {"token": "b", "top_logprobs": None}]},
        {"content": [{"token": None}, {"token": "b", "top_logprobs": [{"token": "b", "logprob": "x"}]}]},
        {"tokens": ["a", "b"], "top_logprobs": [None, "b"]},
        {"tokens": ["a", "b"], "top_logprobs": [None, {"b": None}]},
        {"tokens": ["a", "b"], "top_logprobs": [None, {"b": "-0.1"}]},
        {"tokens": ["a", "b"], "top_logprobs": [None, {"b": True}]},
        {"tokens": ["a", "b"], "top_logprobs": [None, {"b": 1000.0}]},
    ],
)
def test_incomplete_logprobs_are_missing_logprobs(logprobs: dict[str, Any] | None):
    with pytest.raises(LogprobsMissingError, match="prob"):
        read_echo(body_with(logprobs), "ab", Usage())


@pytest.mark.parametrize("absurd", ["-0.1", True, 1000.0, 10**400])
def test_a_place_with_an_absurd_log_probability_has_no_distribution(absurd: object):
    legacy = {"tokens": ["a", "b"], "top_logprobs": [{"a": -0.1, "0": absurd}, {"b": -0.1, "1": None}]}
    tops = [[{"token": t, "logprob": p} for t, p in top.items()] for top in legacy["top_logprobs"]]
    chat_shaped = [{"token": t, "top_logprobs": top} for t, top in zip("ab", tops, strict=True)]
    for sent in (legacy, {"content": chat_shaped}):
        assert read_echo(body_with(sent), "ab", Usage()).top_logprobs == ({}, {"b": -0.1})


@pytest.mark.parametrize("absurd", [10**30, -5, "7", None, True, 7.5])
def test_an_absurd_count_of_tokens_is_none_and_its_cost_unknown(absurd: object):
    choice = {"text": "yes", "logprobs": None}
    body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": absurd, "completion_tokens": 2}})
    usage = CompletionWire("m").usage(Body(body), Prices(1.0, 1.0))
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cost_usd) == (0, 2, None)


def test_a_body_nested_too_deeply_is_a_failed_reply():
    assert CompletionWire("m").reply(Body("[" * 100_000), Usage()).status == "failed"


def test_a_prompt_of_one_token_can_be_spelt_but_not_scored():
    with pytest.raises(LogprobsMissingError, match="top_logprobs"):
        read_echo(body_with({"tokens": ["ab"], "top_logprobs": [None]}), "ab", Usage())


def body_with(logprobs: dict[str, Any] | None) -> Body:
    return Body(json.dumps({"choices": [{"text": "ab", "logprobs": logprobs}]}))
