from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.token_pairs import TokenPairs
from neuroscribe.ports.replies import as_text
from neuroscribe.subject.architectures import backbone, down_projections
from neuroscribe.testing.planted import (
    COLOURS,
    CONSTANT,
    DEAD,
    EVERY_TOKEN,
    GROUPS,
    LAYERS,
    NEURONS,
    NOTHING,
    NUMBERS,
    PLANTED,
    STRONG,
    WEAK,
    WHOLE_TOKENS,
    PlantedScript,
    planted_activation,
    planted_corpus,
    planted_subject,
    planted_tokenizer,
    save,
)
from neuroscribe.testing.studies import tiny_study

TOKENIZER = planted_tokenizer()


def token_ids(tokens: tuple[str, ...]) -> list[int]:
    ids = [TOKENIZER(token).input_ids for token in tokens]
    assert all(len(found) == 1 for found in ids)
    return [found[0] for found in ids]


def captured(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    """Activations [layer, token, neuron] of one sequence."""
    seen: list[torch.Tensor] = []
    for projection in down_projections(model).values():
        projection.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].float()))
    with torch.no_grad():
        backbone(model)(torch.tensor([ids]))
    return torch.stack(seen)


def truth() -> torch.Tensor:
    rows = [
        [
            [planted_activation(layer, neuron, token) for neuron in range(NEURONS)]
            for token in WHOLE_TOKENS[:100]
        ]
        for layer in range(LAYERS)
    ]
    return torch.tensor(rows)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
def test_every_neuron_fires_as_planted_whatever_stands_before(dtype: torch.dtype, error: float) -> None:
    ids = token_ids(WHOLE_TOKENS)
    backwards = captured(planted_subject().to(dtype), ids[:100][::-1]).flip(1)
    torch.testing.assert_close(captured(planted_subject().to(dtype), ids[:100]), truth(), rtol=0, atol=error)
    torch.testing.assert_close(backwards, truth(), rtol=0, atol=error)


def test_the_values_are_six_and_the_gelu_of_one() -> None:
    assert planted_activation(0, 0, " red") == STRONG == 6.0
    assert planted_activation(0, 7, "red") == WEAK == pytest.approx(0.8412, abs=1e-4)
    assert planted_activation(0, 0, " cat") == 0.0


def test_constant_neurons_never_change_and_dead_ones_never_fire() -> None:
    values = captured(planted_subject(), [*range(100), TOKENIZER.eos_token_id])
    for layer, neuron in CONSTANT:
        assert values[layer, :, neuron].unique().tolist() == [6.0]
        assert PLANTED[layer, neuron].explanation == EVERY_TOKEN
    for layer, neuron in DEAD:
        assert values[layer, :, neuron].abs().max() == 0.0
        assert PLANTED[layer, neuron] == (NOTHING, frozenset())


def test_every_neuron_is_planted_and_some_in_both_layers_alike() -> None:
    assert list(PLANTED) == [(layer, neuron) for layer in range(LAYERS) for neuron in range(NEURONS)]
    assert PLANTED[0, 0] == PLANTED[1, 9] == (COLOURS, frozenset(GROUPS[COLOURS]))
    assert PLANTED[0, 8].tokens == frozenset(GROUPS[COLOURS] + GROUPS[NUMBERS])


def test_unusual_characters_are_whole_tokens() -> None:
    assert {"\n", "\t", "<script>", "\x07", "\u200f"} <= set(WHOLE_TOKENS)
    assert len(set(token_ids(WHOLE_TOKENS))) == len(WHOLE_TOKENS)


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back_exactly(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text).input_ids) == text


def test_a_saved_subject_loads_by_the_auto_classes(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = planted_corpus(1, 0)[0] + " unknown wörd"
    assert tokenizer(text).input_ids == TOKENIZER(text).input_ids
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    torch.testing.assert_close(captured(model, token_ids(WHOLE_TOKENS)[:100]), truth(), rtol=0, atol=1e-5)


def test_building_the_subject_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    planted_subject()
    assert torch.equal(torch.get_rng_state(), before)


def test_every_group_is_in_some_windows_of_the_corpus_and_not_in_others() -> None:
    texts = planted_corpus(20, seed=1)
    documents = [TOKENIZER(text).input_ids for text in texts]
    whole = dict(zip(token_ids(WHOLE_TOKENS), WHOLE_TOKENS, strict=True))
    assert all(len(ids) >= 90 and set(ids) <= set(whole) for ids in documents)
    windows = [
        {whole[token] for token in ids[start : start + 16]}
        for ids in documents
        for start in range(0, len(ids) - 15, 16)
    ]
    topics = [set(tokens) for name, tokens in GROUPS.items() if not name.startswith("ordinary")]
    for tokens in topics:
        assert 0.1 < sum(bool(tokens & window) for window in windows) / len(windows) < 0.9


def test_the_corpus_follows_from_its_seed() -> None:
    assert planted_corpus(3, 7) == planted_corpus(3, 7)
    assert planted_corpus(3, 7) != planted_corpus(3, 8)


def prompt(layer: int, neuron: int) -> str:
    """The explainer's prompt for excerpts that hold two tokens of every group."""
    shown = [token for tokens in GROUPS.values() for token in (tokens[0], tokens[-1])]
    maximum = STRONG if planted_activation(layer, neuron, " red") != WEAK else WEAK
    pairs = [
        (
            token.encode("unicode_escape").decode(),
            int(10 * planted_activation(layer, neuron, token) / maximum),
        )
        for token in shown
    ]
    evidence = LayerEvidence(tiny_study(), layer, {})
    return as_text(TokenPairs().messages(evidence, (neuron, 1), [pairs[:15], pairs[15:]]))


@pytest.mark.parametrize(
    ("layer", "neuron"), [(0, 0), (0, 3), (0, 4), (0, 7), (0, 8), (1, 0), (1, 5), (1, 6), (1, 11)]
)
def test_the_script_explains_the_last_neuron_of_a_prompt_by_the_truth(layer: int, neuron: int) -> None:
    assert PlantedScript().reply(prompt(layer, neuron)) == PLANTED[layer, neuron].explanation


def test_a_wrong_script_names_a_group_on_which_the_neuron_is_silent() -> None:
    for place in ((0, 0), (0, 8), (1, 15)):
        said = PlantedScript(wrong=True).reply(prompt(*place))
        assert PLANTED[place].tokens.isdisjoint(GROUPS[said])


def test_the_script_simulates_what_an_explanation_names() -> None:
    script = PlantedScript()
    assert script.digits(COLOURS, [" red", "red", " cat", "\n"]) == [9, 9, 0, 0]
    assert script.digits("line breaks and tabs", ["\n", "\\n", "\\t", "n"]) == [9, 9, 9, 0]
    assert script.digits(f" {COLOURS} or numbers.", [" red", " one", " cat"]) == [9, 9, 0]
    assert script.digits(EVERY_TOKEN, [" red", "ü"]) == [9, 9]
    assert script.digits(NOTHING, [" red"]) == [0]
    assert script.digits("an explanation nobody planted", [" red"]) == [0]
    assert script.digits(f"{COLOURS}, and promotes numbers", [" red", " one"]) == [9, 0]
    assert script.digits("just before numbers", [" red", " one", " one"]) == [9, 9, 0]
