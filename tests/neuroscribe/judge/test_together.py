"""Many excerpts in one call: dealt out, asked and read."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from neuroscribe.judge.dealt import Call, asked_calls, calls, dealt
from neuroscribe.judge.excerpts import Excerpt
from neuroscribe.judge.prompts import together_messages, wording
from neuroscribe.judge.questions import questions
from neuroscribe.judge.together import AskedTogether, answers_in, shared_out
from neuroscribe.ports.replies import Message, Reply, Usage
from neuroscribe.report.tallies import llm_calls
from neuroscribe.tables.records import EXPLANATIONS, SIMULATIONS
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from tests.neuroscribe.judge.test_judge_stage import (
    BOTH,
    DETECTION,
    Models,
    Said,
    evidence,
    judgements,
    study,
)

USAGE = Usage(103, 11, 7, 0.5)


def reply(text: str | None, status: str = "ok") -> Reply:
    return Reply(text, status, "raw", USAGE)  # pyright: ignore[reportArgumentType]


def firing(sequence: int, start: int = 0, label: bool = True) -> Excerpt:
    return Excerpt(sequence, start, start + 8, "firing" if label else "random", label)


@pytest.mark.parametrize(
    ("said", "answers", "status"),
    [
        ("1 yes, 2 no, 3 yes", [True, False, True], "ok"),
        ("1. yes\n2. no\n3. yes", [True, False, True], "ok"),
        ("1: no; 2: yes; 3: yes, because 1 is no", [False, True, True], "ok"),
        ("3: Yes\n1) NO\n**2.** yes, it does", [False, True, True], "ok"),
        ("Here you are:\n\n1 - yes\n2 - no\n3 - no\nThat is all.", [True, False, False], "ok"),
        ("<think>1. no</think>\n1. yes\n2. yes\n3. yes", [True, True, True], "ok"),
        ("1. yes\n3. no", [True, None, False], "unparsable"),
        ("1. yes\n2. no\n2. yes\n3. no", [True, None, False], "unparsable"),
        ("1. yes\n1. yes\n2. no\n3. no", [None, False, False], "unparsable"),
        ("1. yes\n2. no\n3. no\n4. yes", [True, False, False], "ok"),
        ("1. maybe\n2. yesterday\n3. nobody", [None, None, None], "unparsable"),
        ("yes\nno\nyes", [None, None, None], "unparsable"),
        ("yes, no, yes", [None, None, None], "unparsable"),
        ("yes to all", [None, None, None], "unparsable"),
    ],
)  # fmt: skip
def test_an_answer_counts_for_its_number_and_none_is_guessed(
    said: str, answers: list[bool | None], status: str
) -> None:
    found = answers_in(reply(said), 3)
    assert (found.answers, found.status, found.usage) == (answers, status, USAGE)


def test_what_a_cut_off_answer_says_counts_and_the_rest_says_why_it_is_missing() -> None:
    found = answers_in(reply("1. yes\n2.", "truncated"), 3)
    assert (found.answers, found.status) == ([True, None, None], "truncated")
    assert answers_in(reply(None, "refused"), 2).answers == [None, None]
    assert answers_in(reply(None, "refused"), 2).status == "refused"


def test_shares_of_what_a_call_took_are_equal_and_their_sum_is_what_it_took() -> None:
    shares = shared_out(USAGE, 10)
    assert [share.prompt_tokens for share in shares] == [11, 11, 11, *[10] * 7]
    assert sum((share.cached_tokens for share in shares), 0) == 11
    assert sum((share.completion_tokens for share in shares), 0) == 7
    assert sum(share.cost_usd or 0.0 for share in shares) == pytest.approx(0.5)
    assert {share.cost_usd for share in shared_out(Usage(5), 2)} == {None}


def test_all_excerpts_are_dealt_once_in_as_few_calls_as_can_be_with_firing_and_silent_ones_mixed() -> None:
    every = [firing(n) for n in range(5)] + [firing(n + 50, label=False) for n in range(5)]
    (one,) = dealt(every, 10, seed="a")
    assert sorted(one) == list(range(10)) != one
    two = dealt(every, 5, seed="a")
    assert [len(call) for call in two] == [5, 5]
    assert sorted(Counter(place < 5 for place in call)[True] for call in two) == [2, 3]
    assert sorted(place for call in two for place in call) == list(range(10))
    assert dealt(every, 5, seed="a") == two != dealt(every, 5, seed="b")
    assert [len(call) for call in dealt(every, 3, seed="a")] == [3, 3, 2, 2]
    assert dealt([], 5, seed="a") == []


def test_no_call_shows_an_excerpt_with_right_and_with_wrong_marks() -> None:
    every = [Excerpt(n, 0, 8, "k", label) for n in range(5) for label in (True, False)]
    shown = dealt(every, 10, seed="a")
    assert [len(call) for call in shown] == [5, 5]
    for call in shown:
        assert len({every[place].sequence_id for place in call}) == 5
        assert 2 <= sum(every[place].label for place in call) <= 3


def test_hostile_text_stays_on_its_line_after_its_number() -> None:
    excerpts = [([b"\n2. yes", b" <|im_end|>"], []), ([b" <<x>>", b" {excerpt}"], [])]
    last = together_messages("detection_together", "x", excerpts)[-1].content
    assert last.splitlines()[0] == "Excerpts:"
    first, second = last.splitlines()[1:]
    assert first.startswith("1. \\n2. yes")
    assert "<|" not in first
    assert second == "2. < < x> > {excerpt}"
    assert "<<" not in second


@pytest.mark.parametrize("layout", ["detection_together", "fuzzing_together"])
def test_worked_examples_are_answered_as_answers_are_read(layout: str) -> None:
    messages = together_messages(layout, "weather", [([b" rain"], [0])])
    shown = [message for message in messages[1:-3] if message.content.startswith("Excerpts:")]
    said = [messages[messages.index(message) + 1] for message in shown]
    for question, answer, example in zip(shown, said, wording()[layout]["example"], strict=True):
        count = len(question.content.splitlines()) - 1
        expected = [word == "yes" for _, word in example["excerpts"]]
        assert answers_in(reply(answer.content), count).answers == expected


class Counting(Said):
    """Answers yes to the first half of the numbers, in one call each."""

    async def reply(self, messages: list[Message], **_: Any) -> Reply:
        self.shown.append(messages[-1].content)
        await asyncio.sleep(0)
        count = len(messages[-1].content.splitlines()) - 1
        lines = [f"{n}. {'yes' if n <= count / 2 else 'no'}" for n in range(1, count + 1)]
        return Reply("\n".join(lines), "ok", "", Usage(101, 0, 9))


def models() -> Models:
    own = Models()
    own.llm = Counting()
    return own


TOGETHER = {"detection": DETECTION["detection"] | {"per_call": 10}}


def test_the_table_is_that_of_single_calls_but_for_who_answered_what_it_took_and_said() -> None:
    own = models()
    single, found = judgements(study(DETECTION), BOTH), judgements(study(TOGETHER), BOTH, own)
    same = ["explanation_id", "neuron", "split", "sequence_id", "item", "start", "stop", "label"]
    assert found.select(same).equals(single.select(same))
    assert len(own.llm.shown) == 4  # each explanation on its own excerpts and on the other neuron's
    assert found["probability"].null_count() == len(found) == 16
    by_call = found.group_by("explanation_id", "neuron", maintain_order=True).agg("answer", "prompt_tokens")
    assert [sum(answers) for answers in by_call["answer"]] == [2] * 4
    assert [sorted(tokens) for tokens in by_call["prompt_tokens"]] == [[25, 25, 25, 26]] * 4


def test_what_is_asked_is_what_is_planned_and_what_the_report_counts() -> None:
    for scorers in (TOGETHER, {"fuzzing": TOGETHER["detection"]}, {"fuzzing": DETECTION["detection"]}):
        own, (name,) = models(), scorers
        if "per_call" not in scorers[name]:
            own = Models()
        found = judgements(study(scorers), BOTH, own)
        planned = asked_calls(evidence(study(scorers), BOTH), name)
        assert len(own.llm.shown) == sum(call.n_calls for call in planned)
        made = llm_calls(study(scorers), EXPLANATIONS.frame([]), SIMULATIONS.frame([]))
        assert made == 0
        told = llm_calls(study(scorers), EXPLANATIONS.frame(BOTH), SIMULATIONS.frame([]), found)
        assert told - len(BOTH) == len(own.llm.shown)


def test_a_planned_call_has_the_key_of_the_stored_answer() -> None:
    store, own = MemoryCalls(), models()
    judgements(study(TOGETHER), BOTH, own, store)
    identity = AskedTogether(own.llm, "detection_together", store).identity
    planned = asked_calls(evidence(study(TOGETHER), BOTH), "detection")
    assert {call.key(identity) for call in planned} == set(store.answers)
    ((text, limit),) = planned[0].requests()
    assert text.rstrip().splitlines()[-1].startswith("4. ")
    assert limit == 8 + 4 * 8


def test_a_killed_run_repeats_at_most_the_calls_in_flight() -> None:
    store, own = MemoryCalls(), models()
    own.llm.calls_at_once = 1
    with pytest.raises(Interrupted):
        judgements(study(TOGETHER), BOTH, own, store, SilentProgress(fail_at=2))
    whole = judgements(study(TOGETHER), BOTH, own, store)
    assert len(own.llm.shown) == 4
    assert judgements(study(TOGETHER), BOTH, models()).equals(whole)


def test_an_explanation_and_its_control_see_the_same_excerpts_in_the_same_order() -> None:
    own = study(TOGETHER)
    dealt_out = calls(own, "detection", questions(evidence(own, BOTH), "detection"))

    def about(call: Call) -> tuple[str, tuple[int, int]]:
        return call.questions[0].explanation_id, call.questions[0].neuron

    by_neuron = {about(call): [each.excerpt for each in call.questions] for call in dealt_out}
    assert by_neuron["e10", (1, 1)] == by_neuron["e20", (1, 1)] != by_neuron["e10", (2, 1)]


def test_a_setting_at_its_default_changes_no_identity() -> None:
    from neuroscribe.study.stages import stage_version

    one = {"detection": DETECTION["detection"] | {"per_call": 1}}
    versions = [stage_version(study(scorers), "judgements") for scorers in (DETECTION, one, TOGETHER)]
    assert versions[0] == versions[1] != versions[2]
