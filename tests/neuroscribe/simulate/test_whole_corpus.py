"""Simulators that cost nothing read the whole corpus as they read each sequence of it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.capture.encoded_corpus import encoded_corpus
from neuroscribe.errors import CapabilityError, StoreError
from neuroscribe.evidence import encoded
from neuroscribe.evidence.encoded import PieceVectors
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.kinds import SIMULATORS
from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.sources import Models
from neuroscribe.ports.stores import Progress
from neuroscribe.simulate.embedding import Embedding
from neuroscribe.simulate.encoded import EncodedCorpus, encoded_sequences
from neuroscribe.simulate.matching_words import MatchingWords
from neuroscribe.simulate.whole import whole_corpus
from neuroscribe.study.sections import EncoderSpec
from neuroscribe.study.spec import Study
from neuroscribe.tables.encoded import ENCODED_CORPUS
from neuroscribe.testing.rows import sampled_table, sequence_table, vocabulary_table
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from tests.neuroscribe.simulate.test_embedding import TwoTopics

WHO = ("token_list",)
VOCABULARY = (b" red", b" car", b" bl", b"ue", b"  ", b"caf", "é".encode()[:1], "é".encode()[1:])
SEQUENCES = [[0, 1, 2, 3], [1, 1, 4, 1], [4, 4, 4, 4], [5, 6, 7, 1]]
KEPT = (0, 1, 3)
"""Sequences on which the sampled neuron was kept."""


class Encoders:
    """Opens encoders that name the model that was asked for, and counts what was opened."""

    def __init__(self) -> None:
        self.opened: list[EncoderSpec] = []

    def open(self, spec: EncoderSpec, *, progress: Progress | None = None) -> TextEncoder:
        self.opened.append(spec)
        encoder = TwoTopics()
        encoder.identity = spec.model
        return encoder


def study(**simulators: Any) -> Study:
    usual = {"embedding": {"model": "a", "explainers": WHO}}
    return tiny_study(explainers={"token_list": {}}, simulators=simulators or usual)


def evidence(of: Study, encoders: Encoders) -> LayerEvidence:
    tables = {
        "corpus/sequences": sequence_table(SEQUENCES),
        "corpus/vocabulary": vocabulary_table(VOCABULARY),
        "sampled_activations": sampled_table({sequence: [0.0] * 4 for sequence in KEPT}),
    }
    shown = LayerEvidence(of, 0, tables)
    made = encoded_corpus(of, shown.tokens, encoders=encoders, progress=SilentProgress())
    return LayerEvidence(of, 0, {**tables, "encoded_corpus": made})


def whole(sequence_ids: Sequence[int]) -> EncodedCorpus:
    of, encoders = study(), Encoders()
    return encoded_sequences(evidence(of, encoders), sequence_ids, encoders.open(of.encoders[0]))


def test_what_was_kept_of_a_sample_is_read_and_nothing_else() -> None:
    kinds = {kind: {"kind": kind, "explainers": WHO} for kind in ("embedding", "token_match")}
    of, encoders = study(**kinds), Encoders()
    read = whole_corpus(evidence(of, encoders), encoders, SilentProgress())
    assert read["token_match"]('the tokens "red"').tolist() == [[10, 0, 0, 0], [0] * 4, [0] * 4]
    assert read["embedding"]("words for colours").tolist() == [[10, 0, 10, 10], [0] * 4, [10, 10, 10, 0]]


def test_the_whole_corpus_is_read_as_each_of_its_sequences_is() -> None:
    simulator = Embedding(explainers=WHO).simulator(Models(None, Encoders(), MemoryCalls(), SilentProgress()))
    tokens = [[VOCABULARY[token] for token in sequence] for sequence in SEQUENCES]
    for text in ("words for colours", "other things"):
        each = asyncio.run(simulator.simulate(text, tokens))
        together = whole(range(4)).readings(text)
        np.testing.assert_allclose(together, [reading.activations for reading in each], atol=0.01)


def test_sequences_come_in_the_order_in_which_they_are_named() -> None:
    readings = whole((3, 0)).readings("words for colours")
    assert readings.tolist() == [[10, 10, 10, 0], [10, 0, 10, 10]]


def test_a_sequence_is_as_near_as_its_nearest_token() -> None:
    assert whole(range(4)).nearness("words for colours").tolist() == [10, 0, 0, 10]


def test_no_sequence_at_all_has_no_readings() -> None:
    assert whole(()).readings("words").size == 0


def test_parts_of_a_corpus_give_what_all_of_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = whole(range(4)).readings("words for colours")
    monkeypatch.setattr(encoded, "_PIECES", 2)
    monkeypatch.setattr(encoded, "_HELD", 0)
    np.testing.assert_array_equal(whole(range(4)).readings("words for colours"), at_once)


def test_a_sequence_that_was_not_encoded_is_named_with_what_to_do() -> None:
    table = evidence(study(), Encoders()).tables["encoded_corpus"]
    with pytest.raises(StoreError, match=r"no vectors of sequence 9 by a: .*materialise encoded_corpus"):
        PieceVectors(table, "a", (0, 9))
    with pytest.raises(StoreError, match="sequence 0 by b"):
        PieceVectors(table, "b", (0,))


def test_each_encoder_of_a_study_reads_the_text_once() -> None:
    encoders = Encoders()
    same = {"kind": "embedding", "explainers": WHO}
    of = study(one={**same, "model": "a"}, two={**same, "model": "a"}, three={**same, "model": "b"})
    made = evidence(of, encoders).tables["encoded_corpus"]
    assert [spec.model for spec in encoders.opened] == ["a", "b"]
    assert made.group_by("encoder", maintain_order=True).len().rows() == [("a", 4), ("b", 4)]


def test_two_names_of_the_same_weights_are_one_encoder() -> None:
    same = {"kind": "embedding", "explainers": WHO, "model": "a"}
    made = evidence(study(one=same, two={**same, "revision": "main"}), Encoders()).tables["encoded_corpus"]
    assert made["sequence_id"].to_list() == [0, 1, 2, 3]


def test_tokens_between_words_touch_no_piece() -> None:
    made = evidence(study(), Encoders()).tables["encoded_corpus"]
    assert made["first_piece"].to_list() == [[0, 1, 2, 2], [0, 1, -1, 2], [-1] * 4, [0, 0, 0, 1]]
    assert made["last_piece"].to_list() == made["first_piece"].to_list()
    assert pl.Series(made["vectors"]).bin.size().to_list() == [3 * 4, 3 * 4, 0, 2 * 4]
    assert ENCODED_CORPUS.checked(made).height == 4


def test_only_simulators_that_cost_nothing_read_the_whole_corpus() -> None:
    free = {kind.model_fields["kind"].default for kind in SIMULATORS if vars(kind).get("costs_nothing")}
    assert free == {"embedding", "token_match"}
    spec, encoders = MatchingWords(explainers=WHO), Encoders()
    with pytest.raises(CapabilityError, match="matching_words reads sequences one by one"):
        spec.whole_corpus(evidence(study(), encoders), encoders, SilentProgress())
