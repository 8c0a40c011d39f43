"""The embedding simulator: similarity of the explanation to each token in context."""

import asyncio

import numpy as np
import pytest

from neuroscribe.evidence.encoded import text_vector
from neuroscribe.simulate.embedding import EmbeddingSimulator


class TwoTopics:
    """Words are pieces; `red` and `blue` point one way, all other words the other."""

    identity = "two topics"

    def sentence(self, text: str) -> np.ndarray:
        return self._vector("red" if "colour" in text else "other")

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], np.ndarray]:
        spans: list[tuple[int, int]] = []
        start = 0
        for word in text.split(" "):
            if word:
                spans.append((start, start + len(word)))
            start += len(word) + 1
        vectors = [self._vector(text[a:b]) for a, b in spans]
        return spans, np.array(vectors, dtype=np.float32).reshape(-1, 2)

    def _vector(self, word: str) -> np.ndarray:
        return np.array([1.0, 0.0] if word in ("red", "blue", "café") else [0.0, 1.0], dtype=np.float32)


def _activations(tokens: list[bytes]) -> list[float]:
    simulator = EmbeddingSimulator(TwoTopics())
    (simulated,) = asyncio.run(simulator.simulate("words for colours", [tokens]))
    assert simulated.valid_fraction is None
    return list(simulated.activations)


def test_a_token_that_means_the_same_gets_ten_and_others_nothing() -> None:
    assert _activations([b" red", b" car", b" blue"]) == pytest.approx([10, 0, 10])


def test_the_parts_of_a_word_share_its_value() -> None:
    assert _activations([b" bl", b"ue", b" car"]) == pytest.approx([10, 10, 0])


def test_a_character_split_between_tokens_belongs_to_both() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]

    assert _activations([b"caf", first, second, b" in"]) == pytest.approx([10, 10, 10, 0])


def test_a_token_of_spaces_alone_has_no_similarity() -> None:
    assert _activations([b"red", b"  ", b"car"])[1] == 0


class Counting(TwoTopics):
    """Counts the texts whose pieces are asked for."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], np.ndarray]:
        self.read.append(text)
        return super().pieces(text)


def test_the_end_of_a_phrase_is_read_as_its_last_word_and_other_texts_as_sentences():
    encoder = TwoTopics()
    assert text_vector('the end of "a car is red"', encoder.pieces, encoder.sentence).tolist() == [1, 0]
    assert text_vector('the end of "a red car"', encoder.pieces, encoder.sentence).tolist() == [0, 1]
    assert text_vector("words for colours", encoder.pieces, encoder.sentence).tolist() == [1, 0]
    assert text_vector('the end of "a" colour', encoder.pieces, encoder.sentence).tolist() == [1, 0]


def test_a_sequence_is_encoded_once_however_many_texts_it_is_held_against():
    encoder = Counting()
    simulator = EmbeddingSimulator(encoder)
    for text in ("words for colours", "others", "more"):
        asyncio.run(simulator.simulate(text, [[b" red"], [b" car"]]))
    assert encoder.read == [" red", " car"]
