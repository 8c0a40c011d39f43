"""The planted concepts: the model follows them exactly, and texts hold them at known rates."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroscribe.testing.concepts_study import ConceptScript
from neuroscribe.testing.concepts_subject import concept_subject, save
from neuroscribe.testing.planted import planted_tokenizer
from neuroscribe.testing.planted_concepts import (
    BIGRAM,
    CONCEPTS,
    LABELS,
    NAMED,
    OF,
    ONE,
    OTHER_SENSE,
    POSITION,
    RARE,
    RARE_TOKEN,
    SENSE,
    TWO_SENSES,
    WEAK,
    WHOLE_TOKENS,
    WINDOW,
    concept_texts,
    label_of,
    true_correlation,
)

TOKENIZER = planted_tokenizer(WHOLE_TOKENS)
IDS = {token: TOKENIZER(token).input_ids[0] for token in WHOLE_TOKENS}
TOKENS = {number: token for token, number in IDS.items()}


@cache
def windows(documents: int, seed: int) -> list[list[str]]:
    """Return the texts in windows, as a corpus without an offset is cut."""
    texts = [
        [TOKENS[number] for number in TOKENIZER(text).input_ids] for text in concept_texts(documents, seed)
    ]
    return [
        text[start : start + WINDOW] for text in texts for start in range(0, len(text) - WINDOW + 1, WINDOW)
    ]


def captured(model: Any, sequences: list[list[str]]) -> np.ndarray:
    """Return the activations [sequence, token, neuron] of a model."""
    seen: list[torch.Tensor] = []
    down = model.transformer.h[0].mlp.c_proj
    down.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float()))
    with torch.no_grad():
        model.transformer(torch.tensor([[IDS[token] for token in tokens] for tokens in sequences]))
    return seen[0].numpy()


def planned(sequences: list[list[str]]) -> np.ndarray:
    rows = [[concept.activations(tokens) for concept in CONCEPTS] for tokens in sequences]
    return np.array(rows).transpose(0, 2, 1)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-3), (torch.bfloat16, 0.3)])
def test_captured_activations_are_those_that_are_planned(dtype: torch.dtype, error: float) -> None:
    sequences = windows(100, seed=2)
    np.testing.assert_allclose(
        captured(concept_subject().to(dtype), sequences), planned(sequences), atol=error
    )


def test_a_bigram_fires_on_its_second_word_after_its_first_alone() -> None:
    tokens = [OF, ONE, OF, OF, " the", OF, ONE, ONE, OF]
    assert BIGRAM.activations(tokens) == [0, 0, 6, 0, 0, 0, 0, 0, 6]


def test_a_position_two_senses_and_a_rare_token_fire_as_they_are_named() -> None:
    assert POSITION.activations([" the"] * WINDOW) == [0] * 8 + [6] * 8
    assert TWO_SENSES.activations([SENSE, OTHER_SENSE, RARE]) == [6, WEAK, 0]
    assert RARE_TOKEN.activations([SENSE, OTHER_SENSE, RARE]) == [0, 0, 6]


def test_a_label_is_right_or_wrong_over_the_whole_corpus_as_stated() -> None:
    sequences = windows(900, seed=3)
    found = {
        name: [true_correlation(neuron, label, sequences) for label in CONCEPTS[neuron].labels]
        for name, neuron in NAMED.items()
    }
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(NAMED, LABELS)
    assert found["bigram"] == pytest.approx([1, 0.33, 0.71, 0, -1], abs=0.06)
    assert found["position"] == pytest.approx([1, 0.48, 0.38, 0, -1], abs=0.03)
    assert found["two_senses"] == pytest.approx([1, 0.53, 0.45, 0.89, -1], abs=0.05)
    assert found["rare_token"] == pytest.approx([1, 0.41, 0.71, 0, -1], abs=0.15)


def test_the_rare_token_is_in_one_to_two_of_a_hundred_sequences() -> None:
    sequences = windows(900, seed=3)
    assert 0.01 < np.mean([RARE in tokens for tokens in sequences]) < 0.02


def test_texts_consist_of_whole_tokens_and_follow_from_their_seed() -> None:
    for text in concept_texts(20, seed=4):
        numbers = TOKENIZER(text).input_ids
        assert set(numbers) <= set(TOKENS)
        assert 40 <= len(numbers) <= 56
    assert concept_texts(3, 7) == concept_texts(3, 7) != concept_texts(3, 8)


def test_a_saved_subject_loads_by_the_auto_classes(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    save(tmp_path)
    sequences = windows(20, seed=5)
    np.testing.assert_allclose(
        captured(AutoModelForCausalLM.from_pretrained(tmp_path), sequences), planned(sequences), atol=1e-3
    )


def prompt(neuron: int, *excerpts: list[str]) -> str:
    """Return the part of an explainer's prompt that shows a neuron, after that of another one."""
    text = "Neuron 1\nExcerpt 1:\n the\t10\n\nNeuron 2"
    for number, tokens in enumerate(excerpts, start=1):
        values = [int(10 * value / 6) for value in CONCEPTS[neuron].activations(tokens)]
        pairs = "\n".join(f"{token}\t{value}" for token, value in zip(tokens, values, strict=True))
        text += f"\nExcerpt {number}:\n{pairs}"
    return f"{text}\nOnly where it fires:\n{excerpts[0][0]}\t10"


@pytest.mark.parametrize("neuron", range(len(CONCEPTS)))
def test_the_script_names_the_label_of_as_many_as_there_are_excerpts(neuron: int) -> None:
    firing = [tokens for tokens in windows(900, seed=3) if max(CONCEPTS[neuron].activations(tokens)) == 6]
    for number in range(1, LABELS + 1):
        said = ConceptScript().reply(prompt(neuron, *firing[:number]))
        assert said == label_of(neuron, number).text


def test_the_script_simulates_what_a_label_says() -> None:
    script = ConceptScript()
    tokens = [ONE, OF, OF, OTHER_SENSE]
    digits = [script.digits(label.text, tokens) for label in BIGRAM.labels]
    assert digits == [[0, 9, 0, 0], [0, 9, 9, 0], [0, 9, 0, 0], [9, 0, 0, 0], [9, 0, 9, 9]]
    assert script.digits(TWO_SENSES.labels[0].text, tokens) == [0, 0, 0, 5]
    assert script.digits("no such label", tokens) == [0] * 4
    assert script.reply("Say yes.") == "nothing at all"
