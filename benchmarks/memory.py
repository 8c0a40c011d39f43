"""How much memory a capture takes beyond the bare forward pass, and how it grows with the corpus.

Each capture runs in a process of its own, whose largest resident size Linux reports.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from benchmarks.alone import printed_apart, resident
from benchmarks.capture import LENGTH, TOP_K, random_tokens, study_plan
from benchmarks.figures import Figure, figure
from neuroscribe.capture import CapturePlan, LayerState, capture, kernel
from neuroscribe.capture.plan import quantile_pools
from neuroscribe.capture.state import empty_state
from neuroscribe.subject.compiled import fuse_gelu
from neuroscribe.subject.hooks import forward
from neuroscribe.testing.random_subjects import as_subject, random_subject
from neuroscribe.testing.stores import SilentProgress

SMALL, LARGE = 1_000, 20_000
SHAPE: dict[str, Any] = {
    "n_embd": 64, "n_inner": 2048, "n_layer": 2, "n_head": 1, "n_positions": 128, "vocab_size": 1024,
}  # fmt: skip
"""A narrow model with wide layers: most of its memory is what is captured."""
BATCH = 80
"""Sequences; a layer's batch is then larger than what the allocator keeps back for later (32 MiB)."""
SETTLED = 2_000
"""Sequences of bare passes after which the allocator holds what it will hold."""


def memory_figures() -> Iterator[Figure]:
    """Yield the figures of memory."""
    small, large = (
        json.loads(printed_apart("benchmarks.memory", str(sequences))) for sequences in (SMALL, LARGE)
    )
    growth = large["extra"] / small["extra"]
    yield figure("capture.memory_growth", [growth], "x of 1,000 sequences", n=LARGE)
    batches = (large["extra"] - large["state"]) / large["layer_batch"]
    yield figure("capture.memory_layer_batches", [batches], "layer-batches beside the state", n=LARGE)
    yield figure("capture.bytes_per_neuron", [_bytes_per_neuron(torch.float32)], "bytes", n=LARGE)
    narrow = _bytes_per_neuron(torch.bfloat16)
    yield figure("capture.bytes_per_neuron_bf16", [narrow], "bytes", n=LARGE)


def _bytes_per_neuron(dtype: torch.dtype) -> float:
    """Return the memory of a state per neuron: one polarity, top 20, 50 random sequences, quantile bands."""
    random_ids = tuple(range(50))
    pools = quantile_pools(50_000, random_ids, exemplars=1, seed=0)
    plan = CapturePlan(TOP_K, (1,), random_ids, pools=pools)
    neurons = 100
    state = empty_state(plan, neurons=neurons, tokens=LENGTH, dtype=dtype)
    return _bytes(state) / neurons


def _bytes(state: LayerState) -> int:
    tensors = (getattr(state, item.name) for item in fields(state))
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


def _capture(sequences: int) -> dict[str, float]:
    """Capture in this process; return bytes of the states, of one layer's batch, and beyond bare passes."""
    torch.set_num_threads(1)
    model = random_subject("gpt2", **SHAPE)
    fuse_gelu(model)
    subject = as_subject(model, batch_tokens=BATCH * LENGTH)
    layers = list(range(SHAPE["n_layer"]))
    tokens = random_tokens(sequences, SHAPE["vocab_size"])
    _load_kernel()
    for batch in tokens[:SETTLED].split(BATCH):
        forward(model, batch)
    before = resident("VmHWM")
    plan = study_plan(sequences, (1,))
    states = capture(subject, tokens, plan=plan, layers=layers, progress=SilentProgress())
    return {
        "state": sum(_bytes(state) for state in states.values()),
        "layer_batch": BATCH * LENGTH * SHAPE["n_inner"] * 4,
        "extra": resident("VmHWM") - before,
    }


def _load_kernel() -> None:
    """Load the compiled kernel, whose code and compiler take memory once, whatever is captured."""
    plan = study_plan(100, (1,))
    state = empty_state(plan, neurons=8, tokens=LENGTH)
    kernel.take(state, torch.zeros(2, LENGTH, 8), range(2), plan)


if __name__ == "__main__":
    print(json.dumps(_capture(int(sys.argv[1]))))
