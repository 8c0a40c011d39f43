"""What a server refuses is left out of the next attempt, remembered and told; nothing else is."""

import asyncio
import json
import random
from collections.abc import Collection
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from neuroscribe.errors import LLMError
from neuroscribe.ports.replies import Message, NextToken, Reply
from neuroscribe.ports.samples import A_DIGIT, SAY_YES, Sample, distinct, sample_of
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from resources.llm.openai_wire import ChatWire
from resources.llm.server import OpenAIServer
from resources.llm.transport import Drive
from resources.llm.wires import Question
from tests.resources.llm.weather import Weather

QUESTION = [Message("system", "Be brief."), Message("user", "Rain?")]
PARTS = {"temperature", "seed", "max_tokens", "max_completion_tokens"}
JINJA = "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/..."


def opened(scripted: ScriptedServer, retries: int = 0, **options: Any) -> OpenAIServer:
    return OpenAIServer("m", base_url=scripted.base_url, drive=Drive(max_retries=retries), **options)


def asked(server: OpenAIServer, turns: list[Message] = QUESTION) -> Reply:
    return asyncio.run(server.reply(turns, max_tokens=9, temperature=0.0, seed=0))


def parts(body: dict[str, Any]) -> set[str]:
    return PARTS & set(body)


@pytest.mark.parametrize(
    "refuses", [["seed"], ["temperature"], ["seed", "temperature"], ["max_tokens", "seed"]]
)
def test_what_a_server_refuses_it_is_asked_without_from_then_on_and_in_later_runs(refuses: list[str]):
    calls = MemoryCalls()
    with ScriptedServer(Weather(), refuses=refuses) as scripted:
        for _ in range(2):
            assert asked(opened(scripted, calls=calls)).status == "ok"
        sent = [parts(body) for _, body in scripted.calls]
    newer = {"max_completion_tokens"} if "max_tokens" in refuses else set[str]()
    taken = {"temperature", "seed", "max_tokens"} - set(refuses) | newer
    assert len(sent) == len(refuses) + 2
    assert sent[-2:] == [taken] * 2
    assert [len(one - other) for one, other in pairwise(sent)] == [1] * len(refuses) + [0]


def test_what_is_left_out_is_told_once_by_a_server_that_is_opened():
    progress, calls = SilentProgress(), MemoryCalls()
    with ScriptedServer(Weather(), refuses=["seed", "temperature"]) as scripted:
        server = opened(scripted, progress=progress, calls=calls)
        assert [asked(server).status, asked(server).status] == ["ok", "ok"]
        told = f"m is asked without seed and temperature, which {scripted.base_url} does not take"
        assert progress.done == {told: 1}
        later = SilentProgress()
        opened(scripted, progress=later, calls=calls)
        assert later.done == {told: 1}


def test_calls_that_are_refused_together_all_go_on_without_it():
    async def crowd(server: OpenAIServer) -> list[Reply]:
        calls = [server.reply(QUESTION, max_tokens=9, temperature=0.0, seed=seed) for seed in range(6)]
        return await asyncio.gather(*calls)

    with ScriptedServer(Weather(), refuses=["seed", "system"]) as scripted:
        scripted.faults = [ScriptedFault.late(0.05)] * 6
        replies = asyncio.run(crowd(opened(scripted)))
        assert [reply.status for reply in replies] == ["ok"] * 6
        assert len(scripted.calls) <= 18


@pytest.mark.parametrize("seed", range(3))
def test_a_call_that_fails_takes_nothing_from_those_that_learn_beside_it(seed: int):
    waits, refuses = random.Random(seed), ["seed", "temperature", "max_tokens"]

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0.01 * waits.random())
        body = json.loads(request.content)
        if refused := [name for name in refuses if name in body]:
            return httpx2.Response(400, json={"error": {"param": refused[0]}})
        if "long" in body["messages"][-1]["content"]:
            return httpx2.Response(400, json={"error": {"message": "the context is exceeded"}})
        message = {"message": {"content": "Yes."}, "finish_reason": "stop"}
        return httpx2.Response(200, json={"choices": [message]})

    async def crowd(server: OpenAIServer) -> list[str]:
        async def said(text: str) -> str:
            try:
                turns = [Message("user", text)]
                return (await server.reply(turns, max_tokens=9, temperature=0.0, seed=0)).status
            except LLMError as error:
                return str(error)

        return await asyncio.gather(*(said(text) for text in ["long", "short"] * 20))

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    server = OpenAIServer("m", base_url="http://127.0.0.1:1/v1", http_client=client, concurrency=32)
    said = asyncio.run(crowd(server))
    assert said[1::2] == ["ok"] * 20
    assert all("the context is exceeded" in each for each in said[::2])
    assert server.asking.wire.refused == set(refuses) == set(server.asking.found.now.refused)


def test_a_server_that_refuses_whatever_is_sent_is_asked_once_for_each_part_and_no_more():
    class Grumpy(Weather):
        """Finds fault with the first field that it sees."""

        def reply(self, prompt: str) -> ScriptedFault:  # type: ignore[override]
            return ScriptedFault(
                400, json.dumps({"error": {"message": "'seed', 'temperature', 'max_tokens': no"}})
            )

    calls = MemoryCalls()
    with ScriptedServer(Grumpy()) as scripted:
        server = opened(scripted, calls=calls)
        with pytest.raises(LLMError, match="'seed', 'temperature'"):
            asked(server)
        assert len(scripted.calls) == 4
        assert calls.answers == {}
        assert server.asking.wire.refused == frozenset()  # what was left out in vain is sent again


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_template_that_refuses_a_system_gets_its_text_at_the_head_of_the_question(status: int):
    refusal = ScriptedFault.error(status, JINJA)
    with ScriptedServer(Weather(), faults=[refusal]) as scripted:
        server = opened(scripted)
        assert [asked(server).status, asked(server).status] == ["ok", "ok"]
        turns = [body["messages"] for _, body in scripted.calls]
    merged = [{"role": "user", "content": "Be brief.\n\nRain?"}]
    assert turns[1:] == [merged, merged]


def test_a_text_model_whose_server_knows_no_stop_is_read_to_the_end_of_its_line():
    with ScriptedServer(Weather("words for weather\nand more"), refuses=["stop"]) as scripted:
        reply = asked(opened(scripted, prompt_style="completion"))
    assert (reply.text, reply.status) == ("words for weather", "ok")


def test_first_tokens_and_echoes_are_asked_without_what_is_refused_too():
    with ScriptedServer(Weather(), refuses=["temperature", "system"]) as scripted:
        server = opened(scripted)
        read: NextToken = asyncio.run(server.next_token(QUESTION))
        assert (read.status, asyncio.run(server.echoed("one two")).status) == ("ok", "ok")


def test_questions_that_differ_in_what_is_left_out_are_still_two():
    wire = ChatWire("m")
    before = [wire.request(Question(QUESTION, 9, 1.0, seed)).custom_id for seed in range(2)]
    wire.refused = frozenset({"seed"})
    requests = [wire.request(Question(QUESTION, 9, 1.0, seed)) for seed in range(2)]
    assert requests[0].body == requests[1].body
    assert [request.custom_id for request in requests] == before


def sample(**changed: Any) -> Sample:
    return sample_of(QUESTION, **{"max_tokens": 9, **changed})


def test_the_check_asks_once_in_each_form_of_a_run():
    schema = {"type": "object", "properties": {}}
    forms = [sample(), sample(temperature=1.0), sample(schema=schema), sample()]
    with ScriptedServer(Weather()) as scripted:
        server = opened(scripted)
        for _ in range(2):
            asyncio.run(server.check(distinct(forms)))
        bodies = [body for _, body in scripted.calls]
    assert [[turn["role"] for turn in body["messages"]] for body in bodies] == [["system", "user"]] * 3
    assert [body["temperature"] for body in bodies] == [0.0, 1.0, 0.0]
    assert ["response_format" in body for body in bodies] == [False, False, True]


def checked(*, refuses: Collection[str] = (), faults: Collection[ScriptedFault] = ()) -> list[dict[str, Any]]:
    with ScriptedServer(Weather(), refuses=refuses, faults=faults) as scripted:
        server = opened(scripted)
        asyncio.run(server.check([sample()]))
        tries = len(scripted.calls)
        assert asked(server).status == "ok"
        assert len(scripted.calls) == tries + 1
        return [body for _, body in scripted.calls]


def test_what_a_run_would_be_refused_for_is_found_by_the_check():
    *_, last = checked(refuses=["seed", "temperature", "system"])
    assert set(last) == {"model", "messages", "max_tokens"}
    assert [turn["role"] for turn in last["messages"]] == ["user"]


@pytest.mark.parametrize(
    "fault", [ScriptedFault(500, "Internal Server Error"), ScriptedFault.error(400, "Invalid request")]
)
def test_a_template_that_fails_without_a_word_about_it_is_found_by_the_check(fault: ScriptedFault):
    *_, last = checked(faults=[fault, ScriptedFault(), fault])
    assert [turn["role"] for turn in last["messages"]] == ["user"]


def test_a_fault_that_passes_during_the_check_is_no_lack_of_a_system():
    *_, last = checked(faults=[ScriptedFault(500, "Internal Server Error")])
    assert [turn["role"] for turn in last["messages"]] == ["system", "user"]


def test_a_server_that_fails_in_either_form_is_named_by_its_first_words_and_nothing_is_learnt():
    faults = [ScriptedFault.error(400, "Invalid request"), ScriptedFault.error(400, "still invalid")]
    with ScriptedServer(Weather(), faults=faults) as scripted:
        server = opened(scripted)
        with pytest.raises(LLMError, match="Invalid request"):
            asyncio.run(server.check([sample()]))
        assert server.asking.wire.refused == frozenset()


def test_a_sample_has_the_roles_of_what_it_stands_for_and_none_of_its_words():
    turns = [Message("system", "long"), *[Message("user", "q"), Message("assistant", "a")] * 3]
    roles = [turn.role for turn in sample_of([*turns, Message("user", "q")], max_tokens=1).messages]
    assert roles == ["system", "user", "assistant", "user"]
    begun = sample_of([*turns, Message("user", "q"), Message("assistant", "It")], max_tokens=1).messages
    assert [turn.role for turn in begun] == [*roles, "assistant"]
    assert {turn.content for turn in begun} == {"Answer in one word.", "Say yes.", "Yes.", "Answer:"}


def test_of_samples_of_one_form_the_longest_is_asked():
    assert distinct([SAY_YES, sample(max_tokens=5), sample(max_tokens=8), sample(max_tokens=2)]) == [
        SAY_YES,
        sample(max_tokens=8),
    ]
    assert A_DIGIT.max_tokens == 1


def test_an_answer_that_broke_off_is_asked_for_again_and_one_that_ends_strangely_is_not():
    def ended(reason: str) -> ScriptedFault:
        choice = {"message": {"content": "words abo"}, "finish_reason": reason}
        return ScriptedFault(200, json.dumps({"choices": [choice]}))

    for faults, status, calls in (
        ([ended("error")], "ok", 2),
        ([ended("abort"), ended("error")], "failed", 2),
        ([ended("weather")], "failed", 1),
    ):
        with ScriptedServer(Weather(), faults=faults) as scripted:
            reply = asked(opened(scripted, retries=1))
            assert (reply.status, len(scripted.calls)) == (status, calls)
            assert status == "ok" or "words abo" in reply.raw


def test_half_an_answer_teaches_nothing_of_forms_or_parts():
    said = "json schema seed: temperature, system role"
    choice = {"message": {"content": said}, "finish_reason": "error"}
    broken = ScriptedFault(200, json.dumps({"choices": [choice]}))
    with ScriptedServer(Weather(), faults=[broken]) as scripted:
        server = opened(scripted)
        reply = asyncio.run(
            server.reply(QUESTION, max_tokens=9, temperature=0.0, seed=0, schema={"type": "object"})
        )
        assert (reply.status, len(scripted.calls)) == ("failed", 1)
        assert server.asking.found.now.json_schema is None
        assert server.asking.wire.refused == frozenset()


def test_a_check_tries_anew_what_was_refused_once_for_another_server_may_stand_there_by_now():
    calls = MemoryCalls()
    with ScriptedServer(Weather()) as scripted:
        for refuses in (["seed", "temperature"], ["seed"], []):
            scripted.refuses = refuses
            server = opened(scripted, calls=calls)
            asyncio.run(server.check())
            assert server.asking.wire.refused == set(refuses)
            assert list(opened(scripted, calls=calls).asking.found.now.refused) == refuses


def test_what_was_learnt_stays_where_a_check_fails():
    calls = MemoryCalls()
    with ScriptedServer(Weather(), refuses=["seed"]) as scripted:
        asyncio.run(opened(scripted, calls=calls).check())
        scripted.faults = [ScriptedFault.error(401, "no such key")]
        server = opened(scripted, calls=calls)
        with pytest.raises(LLMError, match="no such key"):
            asyncio.run(server.check())
        assert server.asking.wire.refused == {"seed"} == set(server.asking.found.now.refused)
