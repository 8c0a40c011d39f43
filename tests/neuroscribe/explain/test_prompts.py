import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.next_token import NextToken, following
from neuroscribe.explain.pairs import discretised, excerpt_pairs
from neuroscribe.explain.token_pairs import TokenPairs
from neuroscribe.explain.wording import wording
from neuroscribe.ports.replies import Message
from neuroscribe.testing.studies import tiny_study
from neuroscribe.text.escaping import unforged
from neuroscribe.text.marks import Pair

ODD = [" red", "\n", "\t", "\u200f", "\x00", "0", "Neuron 5", "</s>", "<|im_end|>", "[INST]"]
TOKENS = st.binary(max_size=4) | st.sampled_from(ODD).map(str.encode)
EXCERPT = st.lists(st.tuples(TOKENS, st.integers(0, 10)), min_size=1, max_size=12)
FLOATS = arrays(np.float32, st.integers(1, 20), elements=st.floats(-1e6, 1e6, width=32))


NEURON = (1, 1)
BARE = LayerEvidence(tiny_study(), 0, {}, neurons=[NEURON])
"""A layer of which nothing but the excerpts is shown."""


def token_pair_messages(excerpts: list[list[Pair]]) -> tuple[Message, ...]:
    return TokenPairs().messages(BARE, NEURON, excerpts)


def next_token_messages(excerpts: list[list[Pair]]) -> tuple[Message, ...]:
    return NextToken().messages(BARE, NEURON, excerpts)


def last_question(excerpts: list[list[Pair]]) -> str:
    return token_pair_messages(excerpts)[-2].content


def parsed(lines: list[str]) -> list[list[Pair]]:
    """Read lists of pairs back, one after each heading."""
    lists: list[list[Pair]] = []
    for line in lines:
        if "\t" in line:
            token, value = line.rsplit("\t", 1)
            lists[-1].append((token, int(value)))
        else:
            lists.append([])
    return lists


@given(st.lists(EXCERPT, min_size=1, max_size=3))
def test_the_last_question_reads_back_to_the_pairs(shown: list[list[tuple[bytes, int]]]) -> None:
    excerpts = [
        excerpt_pairs(
            [token for token, _ in excerpt],
            np.array([value for _, value in excerpt]),
            peak=0,
            length=len(excerpt),
        )
        for excerpt in shown
    ]
    every = [pair for pairs in excerpts for pair in pairs]
    firing = [pair for pair in every if pair[1] > 0]
    sparse = [firing] if firing and len(firing) < 0.2 * len(every) else []
    lines = last_question(excerpts).split("\n")
    assert lines == "\n".join(lines).splitlines()
    assert parsed(lines[1:]) == [
        [(unforged(token), value) for token, value in own] for own in excerpts + sparse
    ]
    assert not re.search(r"<[^<>\s]+>|\[/?INST\]", "\n".join(lines))


@given(st.lists(EXCERPT, min_size=1, max_size=3))
def test_the_last_question_of_next_tokens_reads_back_to_what_follows(
    shown: list[list[tuple[bytes, int]]],
) -> None:
    excerpts = [
        excerpt_pairs([token for token, _ in own], np.array([value for _, value in own]), peak=0, length=20)
        for own in shown
    ]
    after = [following(pairs) for pairs in excerpts]
    lines = next_token_messages(after)[-2].content.split("\n")
    firing = [pair for pairs in after for pair in pairs if pair[1] > 0]
    sparse = [firing] if firing and len(firing) < 0.2 * sum(map(len, after)) else []
    read: list[list[Pair]] = []
    for line in lines[1:]:
        value, tab, token = line.partition("\t")
        if tab:
            read[-1].append((token, int(value)))
        elif line:  # nothing follows the only token of an excerpt
            read.append([])
    assert not [line for line in lines if len(line.splitlines()) > 1]
    assert not re.search(r"<[^<>\s]+>|\[/?INST\]", "\n".join(lines))
    assert read == [[(unforged(token), value) for token, value in own] for own in after + sparse]


def test_a_prompt_ends_with_the_beginning_of_the_answer() -> None:
    own = wording("token_pairs")
    messages = token_pair_messages([[(" red", 10)]])
    roles = [message.role for message in messages]
    assert roles == ["system", *["user", "assistant"] * (len(own.examples) + 1)]
    assert messages[-1].content == own.stub
    assert all(message.content.startswith(own.stub + " ") for message in messages[2:-1:2])
    assert messages[-2].content == f"Neuron {len(own.examples) + 1}\nExcerpt 1:\n red\t10"


def test_next_tokens_stand_beside_the_activation_before_them() -> None:
    pairs = [("in", 0), (" 40", 9), (" minutes", 0), (".", 3)]
    assert following(pairs) == [(" 40", 0), (" minutes", 9), (".", 0)]
    last = next_token_messages([following(pairs)])[-2].content
    assert last.endswith("Excerpt 1:\n0\t 40\n9\t minutes\n0\t.")


def test_worked_next_tokens_are_those_that_follow_in_the_example() -> None:
    first = next_token_messages([[("x", 1)]])[1].content
    assert "10\t minutes" in first
    assert "0\t twenty" in first


def test_braces_in_tokens_stay_as_they_are() -> None:
    assert "{number}\t3" in last_question([[("{number}", 3)]])


def test_firing_tokens_are_listed_once_more_when_they_are_few() -> None:
    few = [("a", 0)] * 9 + [("b", 7)]
    many = [("a", 0)] * 4 + [("b", 7)]
    assert last_question([few]).endswith("Only where it fires:\nb\t7")
    assert "Only where it fires" not in last_question([many])
    assert "Only where it fires" not in last_question([[("a", 0)] * 9])


@pytest.mark.parametrize("kind", ["token_pairs", "next_token"])
def test_worked_neurons_keep_the_rules_they_teach(kind: str) -> None:
    for example in wording(kind).examples:
        values = [value for excerpt in example.shown["excerpts"] for _, value in excerpt]
        assert example.explanation == example.explanation.strip().rstrip(".")
        assert set(values) <= set(range(11))
        assert max(values) == 10


@given(FLOATS, st.sampled_from([1, -1]))
def test_only_the_maximum_is_ten(values: np.ndarray, polarity: int) -> None:
    signed = polarity * values.astype(np.float64)
    maximum = float(signed.max())
    found = discretised(values, maximum=maximum, polarity=polarity)
    assert found.min() >= 0
    assert ((found == 10) == ((signed == maximum) & (maximum > 0))).all()
    assert (found[signed <= 0] == 0).all()


def test_activations_are_rounded_down_to_tenths_of_the_maximum() -> None:
    values = np.array([0.0, 0.39, 0.4, 2.0, 3.99, 4.0, -4.0])
    assert discretised(values, maximum=4.0, polarity=1).tolist() == [0, 0, 1, 5, 9, 10, 0]
    assert discretised(values, maximum=8.0, polarity=-1).tolist() == [0, 0, 0, 0, 0, 0, 5]


@pytest.mark.parametrize("maximum", [0.0, -1.0])
def test_a_neuron_that_never_fires_on_its_side_is_silent_throughout(maximum: float) -> None:
    assert discretised(np.array([1.0, -1.0]), maximum=maximum, polarity=1).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("peak", "shown"), [(0, "abcdef"), (3, "abcdef"), (4, "abcdef"), (5, "bcdefg"), (9, "efghij")]
)
def test_an_excerpt_shows_two_thirds_before_the_peak(peak: int, shown: str) -> None:
    tokens = [letter.encode() for letter in "abcdefghij"]
    pairs = excerpt_pairs(tokens, np.arange(10), peak=peak, length=6)
    assert "".join(token for token, _ in pairs) == shown
    assert [value for _, value in pairs] == [ord(letter) - 97 for letter in shown]


def test_a_short_sequence_is_shown_whole() -> None:
    assert len(excerpt_pairs([b"a", b"b"], np.array([1, 2]), peak=1, length=64)) == 2
