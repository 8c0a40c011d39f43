import json
from typing import Any

import pytest

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Asking, Before, Showing
from neuroscribe.explain.parsing import LONGEST_LONG, parsed_answer
from neuroscribe.explain.senses import Senses
from neuroscribe.explain.wording import filled, wording
from neuroscribe.kinds import KnownStudy
from neuroscribe.ports.replies import Message
from neuroscribe.study.stages import STAGES
from neuroscribe.tables.effects import EFFECTS
from neuroscribe.tables.records import CONNECTIONS, NEURON_RECORDS
from neuroscribe.testing import rows
from neuroscribe.testing.studies import tiny_study

KINDS = [
    name
    for name, kind in KnownStudy.known_kinds("explainers").items()
    if issubclass(kind, Asking) and kind is not Senses  # which asks in the words of highlights
]
NEURON = (1, 1)


def layer(token: str) -> LayerEvidence:
    """A layer whose neuron fires on one token, and promotes it."""
    promoted = {"neuron": 1, "direction": "output_token", "sign": 1, "token_id": 0}
    tables = {
        "corpus/sequences": rows.sequence_table([[0]]),
        "neuron_records": rows.filled(NEURON_RECORDS, rows.exemplar_row(1, 0, [1.0], split="train")),
        "corpus/vocabulary": rows.vocabulary_table([token.encode()]),
        "token_lookup": rows.lookup_table({0: 1.0}, count=3),
        "connections": rows.filled(CONNECTIONS, promoted),
        "effects": rows.filled(EFFECTS, {"neuron": 1, "kind": "promoted", "token_id": 0}),
    }
    return LayerEvidence(tiny_study(), 0, tables, neurons=[NEURON])


def messages(kind: str, token: str, answer: Any = "line") -> tuple[Message, ...]:
    """A kind's prompt about a neuron that fires on one token."""
    spec = KnownStudy.known_kinds("explainers")[kind].model_validate({"answer": answer})
    if isinstance(spec, Showing):
        return spec.messages(layer(token), NEURON, [[("a", 0), (token, 9)]])
    assert isinstance(spec, Asking)
    return spec.shown(layer(token), NEURON, Before()).messages


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
    asking, listing = {"highlights": {}, "token_list": {}}, {"token_list": {}}
    settings = STAGES["explanations"].settings
    assert set(settings(tiny_study(explainers=asking))["wording"]) == {"answers", "highlights"}
    assert settings(tiny_study(explainers=listing))["wording"] == {}
