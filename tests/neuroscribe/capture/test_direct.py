import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from neuroscribe.capture.direct import captured_texts
from neuroscribe.errors import CorpusError, StudyError, SubjectError
from neuroscribe.study.stages import TABLES
from neuroscribe.testing.planted import (
    LAYERS,
    NEURONS,
    PLANTED,
    planted_corpus,
    planted_subject,
    planted_tokenizer,
)
from neuroscribe.testing.random_subjects import random_subject

ROOT = Path(__file__).parents[3]
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


CORPUS = planted_corpus(60, seed=1)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"tokenizer": None},
            SubjectError,
            "there is no tokenizer; give the one of the model's own repository",
        ),
        ({"tokenizer": len}, SubjectError, "has no fast form"),
        ({"model": "gpt2"}, SubjectError, "model is str; give a loaded model, as AutoModelForCausalLM"),
        ({"model": torch.nn.Linear(2, 2)}, SubjectError, "model type 'Linear' has no dense MLP"),
        ({"texts": []}, CorpusError, "the 0 texts hold no text"),
        ({"texts": ["", " \n"]}, CorpusError, "the 2 texts hold no text"),
        ({"texts": "the red house"}, CorpusError, r"texts is one str, .* give a list: \[text\]"),
        ({"texts": ["the", b"red"]}, CorpusError, "text 1 is bytes; give texts as str"),
        ({"layers": []}, StudyError, "layers is empty"),
        ({"sequence_length": 1}, StudyError, "sequence_length = 1; give an integer from 2 to 4096"),
        ({"sequence_length": 4097}, StudyError, "sequence_length = 4097; give an integer from 2 to 4096"),
        ({"top_k": -1}, StudyError, "top_k = -1; give an integer of at least 1"),
        ({"top_k": 8.0}, StudyError, "top_k = 8.0; give an integer of at least 1"),
        ({"batch_tokens": 0}, StudyError, "batch_tokens = 0; give an integer of at least 1"),
        ({"layers": 1}, StudyError, "layers = 1; give a list of integers"),
        ({"layers": ["1"]}, StudyError, r"layers = \['1'\]; give a list of integers"),
        ({"prefix_ids": None}, StudyError, "prefix_ids = None; give a list of integers"),
        ({"prefix_ids": "<s>"}, StudyError, "prefix_ids = '<s>'; give a list of integers"),
        ({"prefix_ids": [999]}, SubjectError, "the prefix holds token 999, but the embedding"),
        ({"texts": None}, CorpusError, "texts is NoneType; give a list of str"),
        ({"texts": ["the", "a \ud83d"]}, CorpusError, r"text 1 holds half a character \('\\ud83d' at 2\)"),
        (
            {"model": torch.nn.DataParallel(planted_subject())},
            SubjectError,
            r"wrapped in DataParallel; give the model inside: model\.module",
        ),
        ({"random_sequences": 0}, StudyError, "random_sequences = 0; give an integer of at least 1"),
    ],
)
def test_what_cannot_be_captured_is_answered_with_what_to_give(
    changes: dict[str, Any], error: type[Exception], said: str
):
    given = {"model": planted_subject(), "tokenizer": planted_tokenizer(), "texts": CORPUS, **FEW, **changes}
    # Those who call from a notebook have no checker of types.
    with pytest.raises(error, match=said):
        inspect.unwrap(captured_texts)(**given)


def test_layers_and_numbers_may_come_from_numpy(tables: dict[str, pl.DataFrame]):
    given: dict[str, Any] = {**FEW, "layers": np.array([1]), "top_k": np.int64(8)}
    own = inspect.unwrap(captured_texts)(planted_subject(), planted_tokenizer(), CORPUS, **given)
    assert own["neuron_records"].equals(tables["neuron_records"].filter(layer=1))


def test_a_model_without_values_is_refused_with_the_parameter_that_lacks_them():
    model = planted_subject()
    model.transformer.h[1].to("meta")
    with pytest.raises(SubjectError, match=r"transformer\.h\.1\.\S+ is on the meta device, without values"):
        captured_texts(model, planted_tokenizer(), CORPUS, **FEW)


def test_the_notebook_s_module_imports_neither_dagster_nor_a_compiler():
    program = "import sys, neuroscribe.capture.direct; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.decode().split()}
    assert "torch" in imported
    assert not imported & {"dagster", "numba", "llvmlite", "transformers", "openai", "great_expectations"}
