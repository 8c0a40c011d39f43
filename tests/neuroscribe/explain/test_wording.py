import json
from typing import Any

import pytest
from neuroscribe.explain.pairs import next_token_messages, token_pair_messages
from neuroscribe.study.prompts import wordings

from neuroscribe.explain.highlights import highlight_messages, logit_lens_messages, token_summary_messages
from neuroscribe.explain.parsing import LONGEST_LONG, parsed_answer
from neuroscribe.explain.wording import filled, wording
from neuroscribe.ports.replies import Message

KINDS = ("token_pairs", "next_token", "highlights", "logit_lens", "token_summary")


def messages(kind: str, token: str, answer: Any = "line") -> tuple[Message, ...]:
    """A kind's prompt about a neuron that fires on one token."""
    excerpts = [[("a", 0), (token, 9)]]
    match kind:
        case "token_pairs":
            return token_pair_messages(excerpts, answer)
        case "next_token":
            return next_token_messages(excerpts, answer)
        case "highlights":
            return highlight_messages(excerpts, answer)
        case "logit_lens":
            return logit_lens_messages(excerpts, [token], answer)
        case _:
            return token_summary_messages([token], answer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["line", "schema"])
def test_prompts_of_a_kind_are_the_same_up_to_the_neuron(kind: str, answer: str) -> None:
    one, other = messages(kind, " rain", answer), messages(kind, " red", answer)
    neuron = max(place for place, message in enumerate(one) if message.role == "user")
    assert [place for place in range(len(one)) if one[place] != other[place]] == [neuron]
    assert "rain" in one[neuron].content


@pytest.mark.parametrize("kind", KINDS)
def test_worked_answers_are_read_as_the_explanations_they_teach(kind: str) -> None:
    own = wording(kind)
    lines, forms = messages(kind, "x"), messages(kind, "x", "schema")
    assert own.examples
    for place, example in enumerate(own.examples):
        text = f"{own.prefix} {example.explanation}".strip()
        said = lines[2 + 2 * place].content.removeprefix(own.stub)
        assert parsed_answer(said, prefix=own.prefix).text == text
        read = parsed_answer(forms[2 + 2 * place].content, form="schema", prefix=own.prefix)
        assert (read.text, read.long_text) == (text, example.details)
        assert len(example.explanation) < len(example.details) <= LONGEST_LONG


@pytest.mark.parametrize("kind", KINDS)
def test_worked_explanations_of_a_kind_are_unlike_each_other(kind: str) -> None:
    texts = [example.explanation for example in wording(kind).examples]
    assert len({text.split()[0] + text.split()[-1] for text in texts}) == len(texts) >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_json_is_asked_for_in_the_instruction_and_never_begun(kind: str) -> None:
    line, form = messages(kind, "x"), messages(kind, "x", "schema")
    assert '"short"' in form[0].content
    assert "JSON" not in line[0].content
    assert form[-1].role == "user"
    assert line[-1].role == "assistant"
    assert set(json.loads(form[2].content)) == {"short", "long"}


def test_only_the_named_parts_of_a_template_are_filled() -> None:
    assert filled("{a} and {b}", a="{b}", b="{a}") == "{b} and {a}"


def test_a_study_depends_on_the_wording_of_its_own_kinds_alone() -> None:
    assert set(wordings(["highlights", "token_list"])) == {"answers", "highlights"}
    assert wordings(["token_list"]) == {}
