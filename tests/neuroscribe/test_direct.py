import polars as pl
import pytest

from neuroscribe.direct import captured_texts
from neuroscribe.errors import CorpusError, StudyError
from neuroscribe.records import TABLES
from neuroscribe.testing.planted import (
    LAYERS,
    NEURONS,
    PLANTED,
    planted_corpus,
    planted_subject,
    planted_tokenizer,
)
from neuroscribe.testing.random_subjects import random_subject

FEW = {"sequence_length": 8, "top_k": 8, "random_sequences": 8}


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return captured_texts(planted_subject(), planted_tokenizer(), planted_corpus(60, seed=1), **FEW)


def test_the_tables_are_the_declared_ones(tables: dict[str, pl.DataFrame]):
    assert set(tables) == {
        "corpus/sequences",
        "corpus/vocabulary",
        "activations/statistics",
        "neuron_records",
    }
    for name, frame in tables.items():
        TABLES[name].checked(frame)
    assert tables["activations/statistics"].height == LAYERS * NEURONS


def test_a_planted_neuron_peaks_on_its_tokens(tables: dict[str, pl.DataFrame]):
    texts = dict(tables["corpus/vocabulary"].select("token_id", "bytes").iter_rows())
    ids = dict(tables["corpus/sequences"].select("sequence_id", "token_ids").iter_rows())
    own = tables["neuron_records"].filter(layer=0, neuron=7, kind="top")

    peaks = {texts[ids[row["sequence_id"]][row["peak_position"]]].decode() for row in own.to_dicts()}

    assert own.height == 8
    assert peaks <= PLANTED[0, 7].tokens


def test_the_same_seed_gives_the_same_tables(tables: dict[str, pl.DataFrame]):
    again = captured_texts(planted_subject(), planted_tokenizer(), planted_corpus(60, seed=1), **FEW)
    assert all(frame.equals(tables[name]) for name, frame in again.items())


def test_both_signs_of_gated_neurons_are_kept_and_layers_can_be_chosen():
    model = random_subject("llama", vocab_size=len(planted_tokenizer()))
    texts = planted_corpus(60, seed=1)
    records = captured_texts(model, planted_tokenizer(), texts, layers=[1], **FEW)["neuron_records"]
    assert set(records["polarity"]) == {1, -1}
    assert set(records["layer"]) == {1}


def test_too_little_text_and_layers_that_are_not_there_are_refused():
    with pytest.raises(CorpusError, match="fewer than top_k = 8 and random_sequences = 8 together"):
        captured_texts(planted_subject(), planted_tokenizer(), planted_corpus(1, seed=1), **FEW)
    with pytest.raises(StudyError, match="layer 9 has no dense MLP"):
        captured_texts(planted_subject(), planted_tokenizer(), planted_corpus(60, seed=1), layers=[9], **FEW)
