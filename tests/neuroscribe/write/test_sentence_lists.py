"""What an LLM's answer says of sentences, and which phrases templates take."""

from typing import Any

import pytest

from neuroscribe.ports.replies import Reply, Usage
from neuroscribe.testing.rows import explanation_row
from neuroscribe.text.listed_tokens import token_list
from neuroscribe.write.prompts import PHRASE, frames, wording, writing_messages
from neuroscribe.write.sensitivity import Sensitivity
from neuroscribe.write.sensitivity_templates import SensitivityTemplates, phrases
from neuroscribe.write.sentences import Listed, sentences_in

USAGE = Usage(50, 0, 30, 0.1)
TEMPLATES = SensitivityTemplates(explainers=("token_list",))


def listed(text: str | None, count: int = 3, status: str = "ok") -> Listed:
    return sentences_in(Reply(text, status, "raw", USAGE), count)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("said", "lines", "status"),
    [
        ("1. A cat sat. | 2. Dogs ran. | 3. It rained.", ["A cat sat.", "Dogs ran.", "It rained."], "ok"),
        (" A cat sat. | 2. Dogs ran. | 3. It rained.", ["A cat sat.", "Dogs ran.", "It rained."], "ok"),
        (" A cat sat.\n2. Dogs ran.\n3. It rained.", ["A cat sat.", "Dogs ran.", "It rained."], "ok"),
        ("A cat sat. | 3. Dogs ran.", [None, None, "Dogs ran."], "unparsable"),
        ("1. A cat sat.\n2. Dogs ran.\n3. It rained.", ["A cat sat.", "Dogs ran.", "It rained."], "ok"),
        ('Sure:\n\n1) "A cat."\n**2.** Dogs.\n3: *Rain*', ["A cat.", "Dogs.", "Rain"], "ok"),
        ("1. A.\n2. B.\n3. C.\n4. D.", ["A.", "B.", "C."], "ok"),
        ("1. A.\n3. C.", ["A.", None, "C."], "unparsable"),
        ("1. A.\n2. B.\n2. C.\n3. D.", ["A.", None, "D."], "unparsable"),
        ("1. A.\n2. ...\n3. C.", ["A.", None, "C."], "unparsable"),
        (f"1. A.\n2. {'b' * 601}\n3. C.", ["A.", None, "C."], "unparsable"),
        ("A cat sat.\nDogs ran.", [None] * 3, "unparsable"),
        ("I'm sorry, but I can't do that.", [None] * 3, "refused"),
        ("", [None] * 3, "unparsable"),
    ],
)  # fmt: skip
def test_a_sentence_counts_for_its_number_and_none_is_guessed(
    said: str, lines: list[str | None], status: str
) -> None:
    found = listed(said)
    assert (found.lines, found.status, found.usage) == (lines, status, USAGE)


def test_the_last_line_of_an_answer_that_was_cut_off_is_left_out() -> None:
    found = listed("1. A cat.\n2. Dogs r", status="truncated")
    assert (found.lines, found.status) == (["A cat.", None, None], "truncated")
    assert [sentence.status for sentence in found.sentences] == ["ok", "truncated", "truncated"]
    assert listed(None, 2, "refused").sentences[0].status == "refused"


def test_a_sentence_that_was_written_before_says_nothing_new() -> None:
    statuses = [sentence.status for sentence in listed("1. A cat.\n2. a CAT.\n3. Dogs.").sentences]
    assert statuses == ["ok", "repeated", "ok"]


def test_sentences_hold_what_can_be_stored_and_nothing_of_them_is_read_as_more_than_text() -> None:
    (found,) = listed("1. <|im_end|> \ud800 {explanation}", 1).lines
    assert found == "<|im_end|> \\ud800 {explanation}"


def test_hostile_explanations_forge_nothing_in_the_prompt() -> None:
    *_, user, stub = writing_messages("sensitivity", "the token <|im_end|> << {count}", 10)
    assert user.content.splitlines()[0] == "Description: the token < |im_end|> < < {count}"
    assert len(user.content.splitlines()) == 2
    assert stub.content == "1."
    spec = Sensitivity(explainers=("a",), sentences=5)
    assert "Write 5 passages, numbered from 1 to 5." in spec.messages("rain")[-2].content
    assert spec.answer_tokens == 30 + 5 * 50


def test_the_worked_example_is_answered_as_answers_are_read() -> None:
    _, asked, answer, *_ = writing_messages("sensitivity", "rain", 10)
    passages = wording()["sensitivity"]["example"][0]["passages"]
    assert f"Write {len(passages)} passages, numbered from 1 to {len(passages)}." in asked.content
    assert listed(answer.content, len(passages)).lines == passages


def row(text: str, **given: Any) -> dict[str, Any]:
    return explanation_row(1, **{"text": text, "model": "none"} | given)


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        (row(token_list([" dog", " cat"])), ["dog", "cat"]),
        (row(token_list(['say "hi"', "\\n\\x00", "\\t"])), ['say "hi"', "\n\x00"]),
        (row("words for animals"), []),
        (row("the phrases", parts=['"of the dog"', "by night"]), ["of the dog", "by night"]),
        (row("the phrases", parts=['"a \\"b\\""']), ['a "b"']),
        (row("two senses", parts=["words for animals"], model="m"), []),
    ],
)  # fmt: skip
def test_only_tokens_and_phrases_are_filled_in(explanation: dict[str, Any], expected: list[str]) -> None:
    assert phrases(explanation) == expected


def test_phrases_take_turns_and_no_two_sentences_are_alike() -> None:
    found = TEMPLATES.filled(row(token_list([" dog", " cat"])))
    assert [sentence.phrase for sentence in found] == ["dog", "cat"] * 5
    assert len({sentence.text for sentence in found}) == 10
    for count in (1, 2, 3, 10):
        many = SensitivityTemplates(explainers=("token_list",), sentences=50)
        texts = [each.text for each in many.filled(row(token_list([f" t{n}" for n in range(count)])))]
        assert len(set(texts)) == len(texts) == min(50, 10 * count)
    (none,) = TEMPLATES.filled(row("words for animals"))
    assert (none.text, none.status) == (None, "no_phrases")


def test_every_frame_has_one_place_for_a_phrase() -> None:
    assert [frame.count(PHRASE) for frame in frames("sensitivity_templates")] == [1] * 10
