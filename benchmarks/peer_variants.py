"""The same work four times: our capture, TransformerLens, nnsight and hooks that keep everything.

Each variant is prepared for a GPT-2 of some shape, with the same random weights, and then run over tokens.
What the user of a peer has to add is `Collector`, written as well as plain torch allows. The
libraries are imported by name, as they are no dependencies of this project.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture import CapturePlan, LayerState, capture
from neuroscribe.capture.statistics import layer_statistics
from neuroscribe.subject.compiled import CompiledBackbone, fuse_gelu
from neuroscribe.testing.random_subjects import as_subject, random_subject
from neuroscribe.testing.stores import SilentProgress

TOP_K, LENGTH, BATCH = 20, 64, 32
"""The batch is the one that capture makes of 2,048 tokens."""


@dataclass
class Found:
    """What every variant finds of one layer, the highest peak first."""

    value: Float[Tensor, "neuron k"]
    sequence: Int[Tensor, "neuron k"]
    vector: Float[Tensor, "neuron k token"]
    moments: Float[Tensor, "4 neuron"]
    """Mean, variance, skewness, kurtosis."""


Run = Callable[[Int[Tensor, "sequence token"]], list[Found]]


class Collector:
    """What the user of a peer writes: a running top-k with activations and sums of powers of one layer."""

    def __init__(self, neurons: int, dtype: torch.dtype) -> None:
        self.value = torch.full((neurons, TOP_K), -torch.inf, dtype=dtype)
        self.sequence = torch.zeros(neurons, TOP_K, dtype=torch.int64)
        self.vector = torch.zeros(neurons, TOP_K, LENGTH, dtype=dtype)
        self.sums = torch.zeros(4, neurons, dtype=torch.float64)
        self.seen = 0

    def take(self, activations: Float[Tensor, "sequence token neuron"]) -> None:
        """Add one batch; copying only newcomers was 2 to 3 times as fast as joining and gathering all."""
        number, _, neurons = activations.shape
        self.value, index = torch.cat([self.value, activations.amax(1).T], 1).topk(TOP_K, 1)
        ids = torch.arange(self.seen, self.seen + number).expand(neurons, -1)
        self.sequence = torch.cat([self.sequence, ids], 1).gather(1, index)
        kept = index.clamp(max=TOP_K - 1)[:, :, None].expand(-1, -1, LENGTH)
        self.vector = self.vector.gather(1, kept)
        neuron, slot = (index >= TOP_K).nonzero(as_tuple=True)
        self.vector[neuron, slot] = activations[index[neuron, slot] - TOP_K, :, neuron]
        self._add(activations.flatten(0, 1).float())
        self.seen += number

    def hook(self, activations: Float[Tensor, "sequence token neuron"], hook: Any) -> None:
        """Add one batch, called as TransformerLens calls its hooks."""
        self.take(activations)

    def found(self) -> Found:
        """Return the result, with central moments made of the raw ones."""
        m1, m2, m3, m4 = self.sums / (self.seen * LENGTH)
        variance = m2 - m1**2
        third = m3 - 3 * m1 * m2 + 2 * m1**3
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        moments = torch.stack([m1, variance, third / variance**1.5, fourth / variance**2])
        return Found(self.value, self.sequence, self.vector, moments)

    def _add(self, tokens: Float[Tensor, "token neuron"]) -> None:
        """Add powers to the sums in place, which is up to 3 times as fast as new tensors."""
        power = tokens.clone()
        self.sums[0] += power.sum(0)
        for row in self.sums[1:]:
            row += power.mul_(tokens).sum(0)


def neuroscribe(
    shape: dict[str, Any], dtype: torch.dtype, *, fused: bool = False, compiled: bool = False
) -> Run:
    """Prepare our capture: the model as it is, GPT-2's activation function in one step, or one graph."""
    model = _model(shape, dtype)
    if fused:
        fuse_gelu(model)
    graph = CompiledBackbone(model) if compiled else None
    subject = as_subject(model, batch_tokens=BATCH * LENGTH, compiled=graph)
    layers = range(shape["n_layer"])
    plan = CapturePlan(TOP_K, (1,), random_ids=(), token_histogram=False)

    def run(tokens: Int[Tensor, "sequence token"]) -> list[Found]:
        states = capture(subject, tokens, plan=plan, layers=layers, progress=SilentProgress())
        return [_sorted(state, layer) for layer, state in states.items()]

    return run


def transformer_lens(shape: dict[str, Any], dtype: torch.dtype) -> Run:
    """Prepare TransformerLens: a hook per layer, no result asked for.

    Release 4.3 computes the logits all the same, whatever `return_type` and `stop_at_layer` say.
    """
    sources = import_module("transformer_lens.model_bridge.sources")
    model = _model(shape, dtype)
    bridge = sources.build_bridge_from_module(model, "GPT2LMHeadModel", hf_config=model.config)

    def run(tokens: Int[Tensor, "sequence token"]) -> list[Found]:
        collectors = _collectors(shape, dtype)
        hooks = [(f"blocks.{layer}.mlp.hook_post", each.hook) for layer, each in enumerate(collectors)]
        with torch.inference_mode():
            for batch in tokens.split(BATCH):
                bridge.run_with_hooks(batch, fwd_hooks=hooks, return_type=None)
        return [collector.found() for collector in collectors]

    return run


def nnsight(shape: dict[str, Any], dtype: torch.dtype) -> Run:
    """Prepare nnsight: a trace of the backbone, without logits, stopped after the last neurons are read."""
    traced = import_module("nnsight").NNsight(_model(shape, dtype).transformer)

    def run(tokens: Int[Tensor, "sequence token"]) -> list[Found]:
        collectors = _collectors(shape, dtype)
        with torch.inference_mode():
            for batch in tokens.split(BATCH):
                with traced.trace(batch, use_cache=False) as tracer:
                    for collector, block in zip(collectors, traced.h, strict=True):
                        collector.take(block.mlp.c_proj.input)
                    tracer.stop()
        return [collector.found() for collector in collectors]

    return run


def naive(shape: dict[str, Any], dtype: torch.dtype) -> Run:
    """Prepare the naive gathering: forward hooks keep every tensor of the backbone; all else comes after."""
    backbone = _model(shape, dtype).transformer
    kept: list[list[Tensor]] = [[] for _ in backbone.h]
    for block, tensors in zip(backbone.h, kept, strict=True):
        block.mlp.act.register_forward_hook(lambda *call, tensors=tensors: tensors.append(call[2]))

    def run(tokens: Int[Tensor, "sequence token"]) -> list[Found]:
        with torch.inference_mode():
            for batch in tokens.split(BATCH):
                backbone(batch, use_cache=False)
            return [_reduced(tensors) for tensors in kept]

    return run


VARIANTS: dict[str, Callable[[dict[str, Any], torch.dtype], Run]] = {
    "neuroscribe": neuroscribe,
    "neuroscribe_fused": partial(neuroscribe, fused=True),
    "neuroscribe_optimised": partial(neuroscribe, fused=True, compiled=True),
    "transformer_lens": transformer_lens,
    "nnsight": nnsight,
    "naive": naive,
}


def _model(shape: dict[str, Any], dtype: torch.dtype) -> Any:
    return random_subject("gpt2", **shape).to(dtype)


def _collectors(shape: dict[str, Any], dtype: torch.dtype) -> list[Collector]:
    return [Collector(shape["n_inner"], dtype) for _ in range(shape["n_layer"])]


def _sorted(state: LayerState, layer: int) -> Found:
    """Bring a finished state into the common form; polarity 1 is the only one."""
    value, order = state.top_value[0].sort(1, descending=True)
    vector = state.top_vector[0].gather(1, order[:, :, None].expand(-1, -1, LENGTH))
    table = layer_statistics(state, layer, polarities=(1,), top_k=TOP_K)
    moments = table.select("mean", "variance", "skewness", "kurtosis").to_torch().T
    return Found(value, state.top_sequence[0].gather(1, order), vector, moments)


def _reduced(tensors: list[Float[Tensor, "batch token neuron"]]) -> Found:
    """Reduce all that was kept of one layer, letting go of it on the way."""
    activations = torch.cat(tensors)
    tensors.clear()
    value, sequence = activations.amax(1).topk(TOP_K, 0)
    vector = activations[sequence.T, :, torch.arange(activations.shape[2])[:, None]]
    tokens = activations.flatten(0, 1).float()
    mean = tokens.mean(0)
    tokens -= mean
    power = tokens.clone()
    central = [power.mul_(tokens).mean(0) for _ in range(3)]
    variance, third, fourth = central
    moments = torch.stack([mean, variance, third / variance**1.5, fourth / variance**2])
    return Found(value.T, sequence.T, vector, moments)
