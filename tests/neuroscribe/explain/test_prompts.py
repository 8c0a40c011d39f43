import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroscribe.explain.prompts import Pair, discretised, excerpt_pairs, explanation_prompt

TOKENS = st.binary(max_size=4) | st.sampled_from([" red", "\n", "\t", "\u200f", "\x00", "0", "Neuron 5"]).map(
    str.encode
)
EXCERPT = st.lists(st.tuples(TOKENS, st.integers(0, 10)), min_size=1, max_size=12)
FLOATS = arrays(np.float32, st.integers(1, 20), elements=st.floats(-1e6, 1e6, width=32))


def last_question(excerpts: list[list[Pair]]) -> str:
    return explanation_prompt().messages(excerpts)[-2].content


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
    assert parsed(lines[1:]) == excerpts + sparse


def test_a_prompt_ends_with_the_beginning_of_the_answer() -> None:
    prompt = explanation_prompt()
    messages = prompt.messages([[(" red", 10)]])
    roles = [message.role for message in messages]
    assert roles == ["system", *["user", "assistant"] * (len(prompt.examples) + 1)]
    assert messages[-1].content == prompt.stub
    assert all(message.content.startswith(prompt.stub + " ") for message in messages[2:-1:2])
    assert messages[-2].content == f"Neuron {len(prompt.examples) + 1}\nExcerpt 1:\n red\t10"


def test_braces_in_tokens_stay_as_they_are() -> None:
    assert "{number}\t3" in last_question([[("{number}", 3)]])


def test_firing_tokens_are_listed_once_more_when_they_are_few() -> None:
    few = [("a", 0)] * 9 + [("b", 7)]
    many = [("a", 0)] * 4 + [("b", 7)]
    assert last_question([few]).endswith("Only where it fires:\nb\t7")
    assert "Only where it fires" not in last_question([many])
    assert "Only where it fires" not in last_question([[("a", 0)] * 9])


def test_worked_neurons_keep_the_rules_they_teach() -> None:
    for explanation, excerpts in explanation_prompt().examples:
        values = [value for excerpt in excerpts for _, value in excerpt]
        assert explanation == explanation.strip().rstrip(".")
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
