from typing import Any

import pytest
import torch
from torch import Tensor

from neuroscribe.architectures import SURROUNDINGS, down_projections
from neuroscribe.errors import SubjectError
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.weights import SubjectWeights

LAYER_NORMS = (
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gptj",
    "mpt",
    "opt",
    "phi",
    "stablelm",
    "starcoder2",
)
TEXT_TYPES = sorted(set(SURROUNDINGS) - {"gemma3"})  # gemma3 is gemma3_text with a vision tower
TOKENS = torch.arange(3, 15).reshape(2, 6)


@torch.no_grad()
def without_attention(model_type: str) -> Any:
    """A model with strong random weights, but no attention, positions or biases."""
    no_cap = {"final_logit_softcapping": None} if model_type == "gemma2" else {}
    model = random_subject(model_type, **no_cap)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
        attention = ("attn." in name or "attention." in name) and parameter.ndim == 2
        if attention or "wpe" in name or "position" in name or name.endswith("bias"):
            parameter.zero_()
    return model


def normed(model_type: str, stream: Tensor) -> Tensor:
    if model_type in LAYER_NORMS:
        stream = stream - stream.mean(dim=-1, keepdim=True)
    return stream / stream.square().mean(dim=-1, keepdim=True).sqrt()


def activation(model: Any, values: Tensor) -> Tensor:
    from transformers.activations import ACT2FN

    names = ("hidden_activation", "activation_function", "hidden_act")
    found = [name for name in names if getattr(model.config, name, None)]
    return ACT2FN[getattr(model.config, found[0]) if found else "gelu"](values)


@pytest.mark.parametrize("model_type", TEXT_TYPES)
@torch.no_grad()
def test_weights_and_gains_retrace_the_models_own_forward_pass(model_type: str) -> None:
    model = without_attention(model_type)
    seen: list[Tensor] = []
    for projection in down_projections(model).values():
        projection.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits = model(TOKENS).logits
    weights = SubjectWeights(model)
    stream = weights.embedding()[TOKENS] * weights.embedding_scale()
    for layer in weights.layers:
        known = SURROUNDINGS[model_type]
        read = stream if known.mlp_norm is None else normed(model_type, stream)
        into = weights.input(layer)
        read = read * weights.mlp_norm_gain(layer)
        neurons = activation(model, read @ into.reading.T)
        if into.gate is not None:
            neurons = neurons * (read @ into.up.T)
        torch.testing.assert_close(seen[layer].reshape(neurons.shape), neurons, rtol=1e-3, atol=1e-3)
        written = neurons @ weights.output(layer)
        if known.write_norm is not None:
            written = normed(model_type, written)
        stream = stream + written * weights.write_norm_gain(layer)
    expected = (normed(model_type, stream) * weights.final_norm_gain()) @ weights.unembedding().T
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_an_unlisted_family_is_refused_with_what_is_listed() -> None:
    with pytest.raises(SubjectError, match=r"'bloom' are unknown.*listed: gemma, gemma2"):
        SubjectWeights(random_subject("bloom"))


def test_a_variant_without_its_familys_norm_is_refused() -> None:
    parallel = random_subject("stablelm", use_parallel_residual=True)
    with pytest.raises(SubjectError, match=r"has no model.layers.0.post_attention_layernorm"):
        SubjectWeights(parallel).mlp_norm_gain(0)


def test_a_model_without_a_head_has_no_unembedding() -> None:
    with pytest.raises(SubjectError, match="GPT2Model has no LM head"):
        SubjectWeights(random_subject("gpt2").base_model).unembedding()


def test_packed_weights_are_refused() -> None:
    model = random_subject("llama")
    packed = torch.zeros(24, 16, dtype=torch.uint8)
    model.model.layers[1].mlp.gate_proj.weight = torch.nn.Parameter(packed, requires_grad=False)
    with pytest.raises(SubjectError, match="Linear holds no plain weight"):
        SubjectWeights(model).input(1)


def test_a_layer_without_neurons_is_named() -> None:
    with pytest.raises(SubjectError, match=r"layer 2 has no dense MLP; layers with one: \[0, 1\]"):
        SubjectWeights(random_subject("gpt2")).output(2)
