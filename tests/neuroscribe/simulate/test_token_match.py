"""The simulator that takes a list of tokens literally."""

import asyncio
import math

import numpy as np

from neuroscribe.kinds import KnownStudy
from neuroscribe.llm.capabilities import LLM_NEEDS
from neuroscribe.simulate.token_match import MatchedCorpus, TokenMatch, TokenMatchSimulator
from neuroscribe.testing.rows import sequence_table, vocabulary_table
from neuroscribe.testing.studies import tiny_study
from neuroscribe.text.corpus import TokenBytes

VOCABULARY = (b" red", b"red", b" Red", b"\n", b'"', b" blue")
SEQUENCES = [[0, 1, 2], [3, 4, 5]]
TOKENS = TokenBytes(sequence_table(SEQUENCES), vocabulary_table(VOCABULARY))
LIST = 'the tokens "red", "\\n", "\\""'


def test_a_listed_token_gets_ten_with_or_without_a_space_and_others_nothing() -> None:
    readings = asyncio.run(TokenMatchSimulator().simulate(LIST, [TOKENS[0], TOKENS[1]]))

    assert [reading.activations for reading in readings] == [(10, 10, 0), (10, 10, 0)]
    assert {reading.status for reading in readings} == {"ok"}


def test_words_that_are_no_list_are_unparsable_and_have_no_values() -> None:
    (reading,) = asyncio.run(TokenMatchSimulator().simulate("words for red", [TOKENS[0]]))

    assert reading.status == "unparsable"
    assert all(math.isnan(value) for value in reading.activations)


def test_the_whole_corpus_is_read_in_the_order_in_which_it_is_named() -> None:
    corpus = MatchedCorpus(TOKENS, (1, 0))

    assert corpus.readings(LIST).tolist() == [[10, 10, 0], [10, 10, 0]]
    assert corpus.readings('the tokens "blue"').tolist() == [[0, 0, 10], [0, 0, 0]]
    assert np.isnan(corpus.readings("words for red")).all()
    assert MatchedCorpus(TOKENS, ()).readings(LIST).size == 0


def test_it_asks_no_model_and_costs_nothing() -> None:
    spec = TokenMatch(explainers=("token_list",))

    assert spec.costs_nothing
    assert spec.needs not in LLM_NEEDS
    assert spec.calls(64) == 0
    assert "token_match" in KnownStudy.known_kinds("simulators")
    study = tiny_study(
        explainers={"token_list": {}}, simulators={"token_match": {"explainers": ["token_list"]}}
    )
    assert not study.simulating_needs
    assert not study.encoders
