import asyncio
import math

import pytest

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.llm.capabilities import Capabilities, check_llm
from neuroscribe.ports.models import NextTokenScorer
from neuroscribe.ports.replies import Message, NextToken, Reply
from neuroscribe.testing.server_bodies import Dialect
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from neuroscribe.testing.stores import MemoryCalls
from neuroscribe.testing.studies import tiny_study
from resources.llm.asking import PromptStyle
from resources.llm.server import OpenAIServer
from resources.llm.transport import Drive

QUESTION = [Message("user", "How sure are you?"), Message("assistant", "From 0 to 9:")]
SCHEMA = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}


class Digits:
    """Is fairly sure of 7."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def reply(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return "7"

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        return [0] * len(tokens)

    def first_tokens(self, prompt: str) -> dict[str, float]:
        return {"7": 0.75, "6": 0.2, "8": 0.05}


def first_token(scripted: ScriptedServer, style: PromptStyle = "chat") -> NextToken:
    scorer: NextTokenScorer = OpenAIServer("m", base_url=scripted.base_url, prompt_style=style)
    return asyncio.run(scorer.next_token(QUESTION))


@pytest.mark.parametrize("style", ["chat", "completion"])
@pytest.mark.parametrize("dialect", ["legacy", "chat_shaped", "echo_ignored"])
def test_the_likeliest_first_tokens_come_in_every_dialect(style: PromptStyle, dialect: Dialect):
    with ScriptedServer(Digits(), dialect=dialect) as scripted:
        read = first_token(scripted, style)
    assert read.status == "ok"
    assert {token: round(math.exp(each), 6) for token, each in read.top_logprobs.items()} == {
        "7": 0.75,
        "6": 0.2,
        "8": 0.05,
    }
    assert read.usage.prompt_tokens > 0


def test_a_chat_server_is_asked_for_one_token_and_its_twenty_rivals():
    with ScriptedServer(Digits()) as scripted:
        first_token(scripted)
        [(path, body)] = scripted.calls
    assert path == "/v1/chat/completions"
    del body["messages"]
    assert body == {"model": "m", "temperature": 0, "logprobs": True, "top_logprobs": 20, "max_tokens": 1}


def test_fewer_are_asked_for_where_20_are_too_many_and_that_is_kept_for_the_next_run():
    calls = MemoryCalls()
    with ScriptedServer(Digits(), most_logprobs=5) as scripted:
        for _ in range(2):
            server = OpenAIServer("m", base_url=scripted.base_url, calls=calls)
            assert asyncio.run(server.next_token(QUESTION)).status == "ok"
        assert [body["top_logprobs"] for _, body in scripted.calls] == [20, 10, 5, 5]


def test_a_prompt_that_is_turned_away_has_no_first_token():
    filtered = ScriptedFault.error(400, "The prompt was filtered", code="content_filter")
    with ScriptedServer(Digits(), faults=[filtered]) as scripted:
        assert first_token(scripted).status == "refused"


def test_a_server_that_knows_no_logprobs_is_refused_in_its_own_words():
    refusal = ScriptedFault.error(400, "logprobs are not supported by this model")
    with (
        ScriptedServer(Digits(), faults=[refusal] * 3) as scripted,
        pytest.raises(
            CapabilityError, match="cannot give log-probabilities of its answers with m: logprobs are not"
        ),
    ):
        first_token(scripted)


def structured(server: OpenAIServer) -> Reply:
    question = [Message("user", "Answer in JSON.")]
    return asyncio.run(server.reply(question, max_tokens=30, temperature=0.0, seed=0, schema=SCHEMA))


@pytest.mark.parametrize(
    ("taken", "asked_for", "text"),
    [
        (("json_schema", "json_object"), ["json_schema"] * 2, '{"words": ""}'),
        (("json_object",), ["json_schema", "json_object", "json_object"], '{"answer": "7"}'),
        ((), ["json_schema", "json_object", None, None], "7"),
    ],
)
def test_a_schema_is_asked_for_as_firmly_as_the_server_takes_it(
    taken: tuple[str, ...], asked_for: list[str | None], text: str
):
    calls = MemoryCalls()
    with ScriptedServer(Digits(), json_forms=taken) as scripted:
        for _ in range(2):  # the second run knows what the first found
            server = OpenAIServer("m", base_url=scripted.base_url, calls=calls)
            assert structured(server).text == text
        forms = [body.get("response_format", {}).get("type") for _, body in scripted.calls]
    assert forms == asked_for


def test_a_request_that_is_wrong_in_every_form_ends_the_run_and_says_nothing_about_forms():
    calls = MemoryCalls()
    with ScriptedServer(Digits(), faults=[ScriptedFault.error(400, "prompt is too long")] * 3) as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url, calls=calls)
        with pytest.raises(LLMError, match="prompt is too long"):
            structured(server)
        assert calls.answers == {}


def found(scripted: ScriptedServer, calls: MemoryCalls | None = None) -> Capabilities:
    drive = Drive(max_retries=0)
    return asyncio.run(OpenAIServer("m", base_url=scripted.base_url, drive=drive, calls=calls).capabilities())


def test_capabilities_are_found_by_trying_and_kept_for_the_next_run():
    calls = MemoryCalls()
    with ScriptedServer(Digits(), most_logprobs=10) as scripted:
        first = found(scripted, calls)
        tries = len(scripted.calls)
        assert found(scripted, calls) == first
        assert len(scripted.calls) == tries
    assert first == Capabilities(True, True, 10, 10, True, True)
    assert first.fulfilled == {"reply", "prompt_logprobs", "next_token"}


def test_what_a_server_only_seems_to_do_is_no_capability():
    ignoring = ScriptedServer(Digits(), dialect="no_logprobs", json_forms=())
    with ignoring as scripted:
        assert found(scripted) == Capabilities(True, True, 0, 0, False, False)


def test_what_a_failing_server_leaves_unanswered_is_no_lack_and_is_tried_again():
    calls = MemoryCalls()
    with ScriptedServer(Digits(), faults=[ScriptedFault.error(500, "hiccup")] * 4) as scripted:
        unwell = found(scripted, calls)
        assert unwell == Capabilities(echoed_logprobs=20, answer_logprobs=20)
        assert found(scripted, calls) == Capabilities(True, True, 20, 20, True, True)


def test_a_form_that_ends_in_an_error_about_it_is_lacking():
    calls = MemoryCalls()
    well = ScriptedFault(copies=1)
    faults = [well, well, *[ScriptedFault.error(500, "no grammar for this response_format")] * 2]
    with ScriptedServer(Digits(), faults=faults) as scripted:
        assert found(scripted, calls) == Capabilities(True, True, 20, 20, False, False)


def test_a_capability_that_turns_out_wrong_is_found_anew():
    calls = MemoryCalls()
    with ScriptedServer(Digits()) as scripted:
        url = scripted.base_url
        server = OpenAIServer("m", base_url=url, calls=calls)
        asyncio.run(server.probe())
        scripted.faults.append(ScriptedFault.error(400, "echo is not supported"))
        scripted.faults *= 3
        with pytest.raises(CapabilityError, match="echo is not supported"):
            asyncio.run(server.echoed("one two"))
        assert [answer["echoed_logprobs"] for answer in calls.answers.values()] == [0]
        asyncio.run(OpenAIServer("m", base_url=url, calls=calls).probe())
        assert [answer["echoed_logprobs"] for answer in calls.answers.values()] == [20]


def test_what_an_earlier_run_found_is_proven_anew_with_one_question_before_a_run_rests_on_it():
    calls = MemoryCalls()
    with ScriptedServer(Digits(), most_logprobs=5) as scripted:
        asyncio.run(OpenAIServer("m", base_url=scripted.base_url, calls=calls).probe())
        tries = len(scripted.calls)
        server = OpenAIServer("m", base_url=scripted.base_url, calls=calls)
        for _ in range(2):
            asyncio.run(server.probe())
        assert [body["logprobs"] for _, body in scripted.calls[tries:]] == [5]
        scripted.faults.append(ScriptedFault.error(501, "echo is gone"))
        with pytest.raises(CapabilityError, match="echo is gone"):
            asyncio.run(OpenAIServer("m", base_url=scripted.base_url, calls=calls).probe())


def test_another_server_style_or_model_is_another_question():
    calls = MemoryCalls()
    with ScriptedServer(Digits()) as scripted:
        for model, style in (("m", "chat"), ("n", "chat"), ("m", "completion")):
            server = OpenAIServer(model, base_url=scripted.base_url, prompt_style=style, calls=calls)
            asyncio.run(server.probe_next_token())
    assert len(calls.answers) == 3


def test_a_simulator_that_cannot_work_is_refused_with_those_that_this_server_can_do():
    with ScriptedServer(Digits(), dialect="echo_ignored") as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url)
        with pytest.raises(CapabilityError, match=r"cannot score prompts with m.*It can do: ") as raised:
            asyncio.run(check_llm(tiny_study(), server, {"reply", "prompt_logprobs"}))
    named = str(raised.value).partition("It can do: ")[2].partition(".")[0].split(", ")
    assert "embedding" in named
    assert "all_at_once" not in named


def test_a_server_that_does_what_is_needed_passes_with_one_question_for_each_need():
    with ScriptedServer(Digits()) as scripted:
        server = OpenAIServer("m", base_url=scripted.base_url)
        asyncio.run(check_llm(tiny_study(), server, {"reply", "prompt_logprobs", "next_token"}))
        assert len(scripted.calls) == 3
