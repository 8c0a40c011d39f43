from typing import Any

import polars as pl
import pytest
import torch

from neuroscribe.capture.connections import layer_connections
from neuroscribe.errors import SubjectError
from neuroscribe.subject.weights import SubjectWeights
from neuroscribe.tables.records import CONNECTIONS
from neuroscribe.testing.planted import COLOURS, DEAD, GROUPS, planted_subject, planted_tokenizer
from neuroscribe.testing.random_subjects import random_subject


@torch.no_grad()
def by_hand() -> Any:
    """GPT-2 with two layers of two neurons, a stream of width 2 and four tokens."""
    model = random_subject("gpt2", n_embd=2, n_inner=2, n_head=1, vocab_size=4)
    for parameter in model.parameters():
        parameter.zero_()
    model.transformer.wte.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 2.0]]))
    model.transformer.ln_f.weight.copy_(torch.tensor([1.0, 3.0]))
    first, second = model.transformer.h
    first.ln_2.weight.copy_(torch.tensor([2.0, 1.0]))
    first.mlp.c_fc.weight[:, 0] = torch.tensor([1.0, 0.0])
    first.mlp.c_proj.weight[0] = torch.tensor([0.0, 1.0])
    second.ln_2.weight.copy_(torch.tensor([1.0, 2.0]))
    second.mlp.c_fc.weight.copy_(torch.tensor([[5.0, 0.0], [1.0, -0.5]]))
    return model


def found(
    table: pl.DataFrame, neuron: int, direction: str, sign: int, partner: tuple[str, ...] = ("token_id",)
) -> list[tuple[float, ...]]:
    rows = table.filter(neuron=neuron, direction=direction, sign=sign)
    assert rows["rank"].to_list() == list(range(len(rows)))
    return rows.select(*partner, "strength").rows()


NEURON = ("other_layer", "other_neuron")


def test_input_tokens_are_ranked_by_embedding_times_gain_times_input_weight() -> None:
    table = layer_connections(by_hand(), 0)
    # (2, 1) * (1, 0) = (2, 0) against the four embeddings gives 2, 0, 2, -2.
    assert found(table, 0, "input_token", 1) == [(0, 2.0), (2, 2.0)]
    assert found(table, 0, "input_token", -1) == [(3, -2.0)]


def test_output_tokens_are_ranked_by_output_weight_times_gain_times_unembedding() -> None:
    table = layer_connections(by_hand(), 0)
    # (0, 1) * (1, 3) = (0, 3) gives 0, 3, 3, 6.
    assert found(table, 0, "output_token", 1) == [(3, 6.0), (1, 3.0), (2, 3.0)]
    assert found(table, 0, "output_token", -1) == []


def test_downstream_and_upstream_strengths_are_the_same_number() -> None:
    first, second = (layer_connections(by_hand(), layer) for layer in (0, 1))
    # (0, 1) * (1, 2) = (0, 2) against (5, 1) and (0, -0.5) gives 2 and -1.
    assert found(first, 0, "downstream_neuron", 1, NEURON) == [(1, 0, 2.0)]
    assert found(first, 0, "downstream_neuron", -1, NEURON) == [(1, 1, -1.0)]
    assert found(second, 0, "upstream_neuron", 1, NEURON) == [(0, 0, 2.0)]
    assert found(second, 1, "upstream_neuron", -1, NEURON) == [(0, 0, -1.0)]


def test_the_first_layer_has_nothing_upstream_and_the_last_nothing_downstream() -> None:
    first, second = (layer_connections(by_hand(), layer) for layer in (0, 1))
    assert first.filter(direction="upstream_neuron").is_empty()
    assert second.filter(direction="downstream_neuron").is_empty()


def test_a_neuron_without_weights_has_no_rows() -> None:
    assert layer_connections(by_hand(), 0).filter(neuron=1).is_empty()


def test_rows_of_the_embedding_that_no_token_uses_are_left_out() -> None:
    table = layer_connections(by_hand(), 0, vocabulary=3)
    assert found(table, 0, "input_token", -1) == []
    assert found(table, 0, "output_token", 1) == [(1, 3.0), (2, 3.0)]


def test_the_tokens_of_a_planted_neuron_come_first_and_equal_ones_by_id() -> None:
    table = layer_connections(planted_subject(), 0, tokens=10)
    colours = sorted(
        planted_tokenizer().convert_tokens_to_ids([t.replace(" ", "Ġ") for t in GROUPS[COLOURS]])
    )
    # weights +2 and -2 on an embedding of +1 and -1
    assert found(table, 0, "input_token", 1) == [(token, 4.0) for token in colours[:10]]
    assert found(table, 0, "downstream_neuron", 1, NEURON) == [(1, 9, 2.0)]
    assert table.filter(neuron=DEAD[0][1]).is_empty()


def brute_force(model: Any, layer: int, count: int) -> set[tuple[Any, ...]]:
    """The same table by sorting every strength there is, in float64."""
    weights = SubjectWeights(model)
    reads = {k: weights.input(k).reading.double() * weights.mlp_norm_gain(k) for k in weights.layers}
    writes = {k: weights.output(k).double() * weights.write_gain(k) for k in weights.layers}
    others = {
        ("input_token", None): weights.embedding().double() @ reads[layer].T * weights.embedding_scale(),
        ("output_token", None): (weights.unembedding() * weights.final_norm_gain()).double()
        @ writes[layer].T,
        **{("upstream_neuron", k): writes[k] @ reads[layer].T for k in weights.layers if k < layer},
        **{("downstream_neuron", k): reads[k] @ writes[layer].T for k in weights.layers if k > layer},
    }
    rows: dict[tuple[int, str, int], list[tuple[float, int | None, int]]] = {}
    for (direction, other_layer), strengths in others.items():
        for (partner, neuron), strength in enumerate_matrix(strengths):
            rows.setdefault((neuron, direction, 1 if strength > 0 else -1), []).append(
                (-abs(strength), other_layer, partner)
            )
    return {
        (*key, rank, other_layer, partner)
        for key, entries in rows.items()
        for rank, (_, other_layer, partner) in enumerate(sorted(entries)[:count])
    }


def enumerate_matrix(matrix: torch.Tensor) -> Any:
    return (((i, j), value) for i, row in enumerate(matrix.tolist()) for j, value in enumerate(row))


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "gemma2", "olmo2"])
@pytest.mark.parametrize("block", [1, 200, 2**23])
@torch.no_grad()
def test_every_block_size_finds_what_sorting_all_strengths_finds(model_type: str, block: int) -> None:
    model = random_subject(model_type, num_hidden_layers=3)
    for number, parameter in enumerate(model.parameters()):
        parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    table = layer_connections(model, 1, tokens=4, neurons=4, block=block)
    partner = pl.coalesce("token_id", "other_neuron").alias("partner")
    rows = table.select("neuron", "direction", "sign", "rank", "other_layer", partner).rows()
    assert set(rows) == brute_force(model, 1, 4)
    assert len(rows) == len(set(rows))


def test_half_precision_weights_are_multiplied_in_single_precision() -> None:
    half = random_subject("llama").to(torch.bfloat16)
    single = random_subject("llama").to(torch.bfloat16).float()
    assert layer_connections(half, 0).equals(layer_connections(single, 0))


def test_the_table_has_the_declared_columns_in_order_of_neurons() -> None:
    table = layer_connections(random_subject("gpt2"), 1, tokens=3, neurons=2)
    assert dict(table.schema) == CONNECTIONS.schema
    assert table["neuron"].is_sorted()
    assert table.select(CONNECTIONS.key).is_duplicated().sum() == 0
    assert table.group_by("neuron", "direction", "sign").len()["len"].max() == 3
    assert ((table["strength"] > 0) == (table["sign"] > 0)).all()


def test_weights_that_are_not_finite_are_refused() -> None:
    model = random_subject("gpt2")
    with torch.no_grad():
        model.transformer.h[1].mlp.c_proj.weight[3, 5] = float("nan")
    with pytest.raises(SubjectError, match="NaN or infinite"):
        layer_connections(model, 1)


def test_an_embedding_narrower_than_the_stream_is_refused() -> None:
    model = random_subject("opt", word_embed_proj_dim=8)
    with pytest.raises(SubjectError, match="embedding of OPTForCausalLM is 8 wide, its residual stream 16"):
        layer_connections(model, 0)


def test_a_family_whose_weights_are_not_known_is_refused() -> None:
    with pytest.raises(SubjectError, match="connections of model type 'falcon' are unknown"):
        layer_connections(random_subject("falcon"), 0)
