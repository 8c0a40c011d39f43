"""The prompts in running text: what is marked and listed, and that hostile text can forge nothing."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Before
from neuroscribe.explain.highlights import Highlights
from neuroscribe.explain.logit_lens import LogitLens
from neuroscribe.explain.marking import Beside
from neuroscribe.explain.near_misses import NearMisses
from neuroscribe.explain.pairs import excerpt_pairs
from neuroscribe.explain.token_summary import TokenSummary
from neuroscribe.explain.wording import wording
from neuroscribe.ports.replies import Message
from neuroscribe.tables.records import CONNECTIONS
from neuroscribe.testing.rows import filled, lookup_table, sequence_table, vocabulary_table
from neuroscribe.testing.studies import tiny_study
from neuroscribe.text.marks import Pair, marked, missed

HOSTILE = st.sampled_from(
    [
        "<<", ">>", "<", ">", "<|im_end|>", "<|im_start|>", "assistant", "[INST]", "[/INST]", "</s>", "s",
        "\n", "\n\n", "In common:", "Marked: ", "Tokens: ", "Promotes: ", "Explanation:", '"', "\\",
        "{tokens}", " ", "\t9", "\u202e", "\x00", "\u2028", "<think>", "1. ",
    ]
).map(str.encode)  # fmt: skip
EXCERPT = st.lists(st.tuples(HOSTILE | st.binary(max_size=3), st.integers(0, 10)), min_size=1, max_size=10)


NEURON = (1, 1)


def layer(tokens: list[bytes]) -> LayerEvidence:
    """A layer whose neuron fires on these tokens, the first most of all, and promotes them in this order."""
    ranks = range(len(tokens))
    promoted = {"neuron": 1, "direction": "output_token", "sign": 1}
    tables = {
        "corpus/sequences": sequence_table([ranks]),
        "corpus/vocabulary": vocabulary_table(tokens),
        "token_lookup": lookup_table({rank: 1.0 / (1 + rank) for rank in ranks}),
        "connections": filled(CONNECTIONS, *(promoted | {"rank": rank, "token_id": rank} for rank in ranks)),
    }
    return LayerEvidence(tiny_study(), 0, tables, neurons=[NEURON])


def highlight_messages(excerpts: list[list[Pair]]) -> tuple[Message, ...]:
    """The prompt that shows excerpts in this order: the strongest, which comes first of all, last."""
    return Highlights().messages(layer([]), NEURON, excerpts[::-1])


def logit_lens_messages(excerpts: list[list[Pair]], promoted: list[bytes]) -> tuple[Message, ...]:
    return LogitLens().messages(layer(promoted), NEURON, excerpts[::-1])


def token_summary_messages(tokens: list[bytes]) -> tuple[Message, ...]:
    return TokenSummary(occurrences=1).shown(layer(tokens), NEURON, Before()).messages


def question(excerpts: list[list[Pair]]) -> str:
    return highlight_messages(excerpts)[-2].content


def shown(excerpt: list[tuple[bytes, int]]) -> list[Pair]:
    """The pairs of a whole excerpt, as prompts get them."""
    tokens, values = [token for token, _ in excerpt], np.array([value for _, value in excerpt])
    return excerpt_pairs(tokens, values, peak=0, length=len(excerpt))


def test_tokens_at_half_the_maximum_or_more_are_marked_and_counted() -> None:
    excerpts = [[("the", 0), (" red", 10), (" car", 4)], [(" a", 0), (" blue", 5), (" and", 1), (" red", 9)]]

    assert question(excerpts) == (
        '1. the << red >> car\n2. a << blue >> and << red >>\nMarked: "red" x2, "blue"'
    )


def test_pieces_of_a_word_are_marked_together_and_words_apart() -> None:
    assert marked([[(" Bran", 9), ("cus", 8), ("i", 2), (" Gu", 9), (" ido", 9)]]) == [
        "<< Brancus >>i << Gu >> << ido >>"
    ]


def test_where_nothing_is_strong_by_the_maximum_the_strongest_shown_are_marked() -> None:
    assert marked([[("a", 1), (" b", 3), (" c", 2)]]) == ["a << b >> << c >>"]
    assert marked([[("a", 0), (" b", 0)]]) == ["a b"]


def test_a_marked_space_is_shown() -> None:
    assert marked([[("a", 0), (" ", 9), ("b", 0)]]) == ["a<< ␣ >>b"]


def test_marks_in_the_text_are_taken_apart() -> None:
    assert question([[("<", 0), ("<", 0), ("x", 0), (">>", 9)]]) == '1. < <x<< > > >>\nMarked: "> >"'
    assert marked([[("<", 0), ("x", 9), (">", 0)]]) == ["< << x >> >"]


def test_a_marked_token_cannot_become_a_special_one() -> None:
    assert marked([[("<", 0), ("s", 9), (">", 0)]]) == ["< << s >> >"]
    assert marked([[("<|im_end|>", 9)]]) == ["<< < |im_end|> >>"]


def test_braces_in_the_text_stay_as_they_are() -> None:
    assert "{tokens}" in question([[("{tokens}", 3), ("y", 9)]])


def test_promoted_tokens_stand_below_the_excerpts() -> None:
    messages = logit_lens_messages([[("a", 0), (" b", 9)]], [b" rain", b"rain", b'a"b', b" "])

    assert messages[-2].content == '1. a << b >>\nMarked: "b"\nPromotes: "rain", "a\\"b", " "'
    assert logit_lens_messages([[("a", 9)]], [])[-2].content.endswith("\nPromotes: nothing")


def test_a_list_of_tokens_is_quoted_and_names_none_twice() -> None:
    messages = token_summary_messages([b" rain", b"rain", b" storm", b"\n", b", "])

    assert messages[-2].content == 'Tokens: "rain", "storm", "\\n", ","'


@given(st.lists(EXCERPT, min_size=1, max_size=3))
def test_no_excerpt_forges_a_line_a_mark_or_a_turn(excerpts: list[list[tuple[bytes, int]]]) -> None:
    pairs = [shown(excerpt) for excerpt in excerpts]
    promoted = [token for token, _ in excerpts[0]]
    content = logit_lens_messages(pairs, promoted)[-2].content
    lines = content.split("\n")

    assert lines == content.splitlines()
    assert content == "".join(c for c in content if c == "\n" or c.isprintable())
    assert [line.split(" ")[0] for line in lines] == [f"{n}." for n in range(1, len(pairs) + 1)] + [
        "Marked:", "Promotes:"
    ]  # fmt: skip
    for line, own in zip(lines, pairs, strict=False):
        strong = max(1, min(5, (max(value for _, value in own) + 1) // 2))
        assert line.count("<<") == line.count(">>") <= sum(value >= strong for _, value in own)
    assert not re.search(r"<[^<>\s]+>|\[/?INST\]", content)


@given(st.lists(HOSTILE | st.binary(max_size=3), min_size=1, max_size=8))
def test_no_token_of_a_list_forges_its_end(tokens: list[bytes]) -> None:
    content = token_summary_messages(tokens)[-2].content

    assert content.splitlines() == [content]
    assert re.fullmatch(r'Tokens: ("([^"\\]|\\.)*"(, )?)+', content)
    assert not re.search(r"<[^<>\s]+>|\[/?INST\]", content)


@pytest.mark.parametrize("kind", ["highlights", "logit_lens"])
def test_worked_excerpts_hold_marks_of_the_form_that_neurons_get(kind: str) -> None:
    for example in wording(kind).examples:
        assert example.explanation == example.explanation.strip().rstrip(".")
        for excerpt in example.shown["excerpts"]:
            assert re.fullmatch(r"([^<>]*<< [^<> ]+ >>)+[^<>]*", excerpt)


def test_a_prompt_ends_with_the_beginning_of_the_answer() -> None:
    messages = highlight_messages([[("x", 9)]])

    roles = [message.role for message in messages]
    assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
    assert messages[-1].content == "In common:"
    assert all(m.content.startswith("In common: ") for m in messages[2:-1:2])
    assert messages[1].content.endswith('Marked: "boil", "fry", "roasted", "boiled"')


def test_where_one_excerpt_is_weak_its_own_strongest_tokens_are_marked() -> None:
    assert marked([[("a", 10)], [("b", 3), (" c", 1)]]) == ["<< a >>", "<< b >> c"]
    assert marked([[("a", 7), (" b", 4)]]) == ["<< a >> b"]


def test_strengths_phrases_and_near_misses_stand_beside_the_excerpts() -> None:
    misses = NearMisses((4,), (((" the", 0), (" red", 10), (" sea", 0)),))
    beside = Beside(strengths=(10, 4), phrases=("a dark red", 'he said "'), misses=misses)
    excerpts = [[("a", 0), (" red", 10)], [("b", 10), (" c", 1)]]
    spec = Highlights(marks="excerpt", phrases=2, near_misses=1)

    assert spec.messages(layer([]), NEURON, excerpts, beside)[-2].content == (
        '1. (4/10) << b >> c\n2. (10/10) a << red >>\nUp to the mark: "a dark red", "he said \\""\n'
        "Not on the words in [[ ]]:\n1. the [[ red ]] sea"
    )


def test_worked_examples_have_the_form_of_the_question() -> None:
    spec = Highlights(marks="excerpt", phrases=2, near_misses=1)
    first = spec.messages(layer([]), NEURON, [[("a", 10)]])[1].content

    assert first == (
        "1. (8/10) first << boil >> the rice, then << fry >> an onion\n"
        "2. (10/10) she << roasted >> a duck and << boiled >> two eggs\n"
        'Up to the mark: "she roasted", "duck and boiled"\n'
        "Not on the words in [[ ]]:\n1. the news made her blood [[ boil ]]"
    )


def test_without_worked_examples_the_instruction_stands_alone() -> None:
    messages = Highlights(worked=False).messages(layer([]), NEURON, [[("a", 10)]])

    assert [message.role for message in messages] == ["system", "user", "assistant"]
    assert messages[0].content == wording("highlights").zero_shot


@given(EXCERPT, st.data())
def test_no_near_miss_forges_a_line_or_a_mark(excerpt: list[tuple[bytes, int]], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(excerpt) - 1))
    tokens = [(token, 10 * (at == place)) for at, (token, _) in enumerate(excerpt)]
    line = missed(shown(tokens))

    assert line.splitlines() == [line]
    assert line.isprintable()
    assert line.count("[[") == line.count("]]") == 1
    assert not re.search(r"<[^<>\s]+>|<<|>>|\[/?INST\]", line)
