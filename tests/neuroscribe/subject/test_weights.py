from typing import Any

import pytest
import torch
from torch import Tensor

from neuroscribe.errors import SubjectError
from neuroscribe.subject.architectures import SURROUNDINGS, down_projections
from neuroscribe.subject.weights import SubjectWeights
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.tiny_types import VERIFIED

LAYER_NORMS = (
    *("biogpt", "codegen", "cohere", "cohere2", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox"),
    *("gpt_neox_japanese", "gptj", "jais2", "mpt", "nemotron", "olmo", "opt", "persimmon", "phi", "stablelm"),
    "starcoder2",
)
# What a family does to its logits after the unembedding, which strengths leave out.
HEAD_SCALES = {"cohere": 0.5, "cohere2": 0.5, "granite": 1 / 3, "granite_swa": 1 / 3, "minicpm3": 1 / 4}
GRANITE = {"logits_scaling": 3.0, "residual_multiplier": 0.5, "embedding_multiplier": 2.0}
NUMBERS: dict[str, dict[str, Any]] = {
    **{name: {"logit_scale": 0.5} for name in ("cohere", "cohere2")},
    **dict.fromkeys(("granite", "granite_swa"), GRANITE),
    **{name: {"final_logit_softcapping": None} for name in ("gemma2", "vaultgemma")},
    "minicpm3": {"scale_emb": 2.0, "dim_model_base": 4},
}
UNNAMED = {"lfm2": "silu", "mpt": "gelu"}  # activation functions that no configuration names
TOKENS = torch.arange(3, 15).reshape(2, 6)


@torch.no_grad()
def without_attention(model_type: str) -> Any:
    """A model with strong random weights, but no attention, positions or biases."""
    model = random_subject(model_type, **{**VERIFIED[model_type], **NUMBERS.get(model_type, {})})
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
        mixers = ("attn.", "attention.", "conv.")
        attention = any(mixer in name for mixer in mixers) and parameter.ndim > 1
        if attention or "wpe" in name or "position" in name or name.endswith("bias"):
            parameter.zero_()
    return model


def normed(model_type: str, stream: Tensor) -> Tensor:
    if model_type in LAYER_NORMS:
        stream = stream - stream.mean(dim=-1, keepdim=True)
    return stream / stream.square().mean(dim=-1, keepdim=True).sqrt()


def activation(model: Any, layer: int, values: Tensor) -> Tensor:
    from transformers.activations import ACT2FN

    path = down_projections(model)[layer].path.rpartition(".")[0]
    if (own := getattr(model.get_submodule(path), "act_fn", None)) is not None:
        return own(values)

    names = ("hidden_activation", "activation_function", "hidden_act")
    found = [name for name in names if getattr(model.config, name, None)]
    return ACT2FN[getattr(model.config, found[0]) if found else UNNAMED[model.config.model_type]](values)


@pytest.mark.parametrize("model_type", sorted(SURROUNDINGS))
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
        neurons = activation(model, layer, read @ into.reading.T)
        if into.gate is not None:
            neurons = neurons * (read @ into.up.T)
        torch.testing.assert_close(seen[layer].reshape(neurons.shape), neurons, rtol=1e-3, atol=1e-3)
        written = neurons @ weights.output(layer)
        if known.write_norm is not None:
            written = normed(model_type, written)
        stream = stream + written * weights.write_gain(layer)
    expected = (normed(model_type, stream) * weights.final_norm_gain()) @ weights.unembedding().T
    torch.testing.assert_close(logits, expected * HEAD_SCALES.get(model_type, 1), rtol=1e-3, atol=1e-3)


def test_an_unlisted_family_is_refused_with_what_is_listed() -> None:
    with pytest.raises(SubjectError, match=r"'bloom' are unknown.*listed: apertus, arcee"):
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
