"""What capture costs on top of the subject's forward pass, in the same run, and how much memory it keeps.

Subjects have the shape of a real model and random weights: speed does not depend on the values, and nothing
is downloaded. The whole of `capture()` is measured; only the hooks that it registers are timed apart.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from benchmarks.figures import Figure, figure
from neuroscribe.architectures import backbone, down_projections
from neuroscribe.capture import CapturePlan, LayerState, capture
from neuroscribe.capture.hooks import forward
from neuroscribe.subjects import Subject, TokenizerFacts
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.stores import SilentProgress

SEQUENCES, LENGTH, REPEATS = 256, 64, 5
TOP_K, RANDOM_SEQUENCES, LOOKUP_NEURONS = 20, 30, 12
"""As in studies/embedded.toml."""
SMOLLM2: dict[str, Any] = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 10,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": 49152,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
"""The shape of SmolLM2-135M with 10 of its 30 layers: the cost per layer is the same."""
GPT2_WIDTH: dict[str, Any] = {
    "n_embd": 768,
    "n_inner": 3072,
    "n_layer": 4,
    "n_head": 12,
    "n_positions": 128,
    "vocab_size": 8192,
}
"""The shape of GPT-2 small with 4 of its 12 layers and a smaller vocabulary."""


def capture_figures() -> Iterator[Figure]:
    """Yield the figures of capture, one by one as they are measured."""
    yield from _smollm2_figures()
    gc.collect()
    subject = _subject("gpt2", GPT2_WIDTH, dtype=torch.float32, prefix_ids=())
    run = Run(subject, polarities=(1,))
    run.warm_up()
    split = [run.split()[0] for _ in range(REPEATS)]
    yield figure("capture.split_ratio.gpt2_width", split, "x forward", n=SEQUENCES, detail=", float32")


def _smollm2_figures() -> Iterator[Figure]:
    subject = _subject("llama", SMOLLM2, dtype=torch.bfloat16, prefix_ids=(0,))
    run = Run(subject, polarities=(1, -1))
    run.warm_up()
    pairs = [(run.bare(), *run.split()) for _ in range(REPEATS)]
    split = [ratio for _, ratio, _ in pairs]
    whole = [seconds / bare for bare, _, seconds in pairs]
    detail = ", bfloat16"
    yield figure("capture.split_ratio.smollm2", split, "x forward", n=SEQUENCES, detail=detail)
    yield figure("capture.whole_ratio.smollm2", whole, "x forward", n=SEQUENCES, detail=detail)
    yield figure("capture.bytes_per_neuron", [run.bytes_per_neuron], "bytes", n=SEQUENCES, detail=detail)


@dataclass
class Run:
    """Captures one subject over random tokens, again and again."""

    subject: Subject
    polarities: tuple[int, ...]
    bytes_per_neuron: float = 0.0
    """Memory of a finished state, without the token-lookup tables of sampled neurons."""

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        vocabulary: int = self.subject.model.config.vocab_size
        self._tokens = torch.randint(vocabulary, (SEQUENCES, LENGTH), generator=generator)
        self._projections = down_projections(self.subject.model)

    def warm_up(self) -> None:
        """Let kernels compile and memory settle."""
        self._captured(self._tokens[: RANDOM_SEQUENCES + TOP_K])

    def bare(self) -> float:
        """Return the seconds of the backbone alone over all sequences, in the batches that capture makes."""
        prefix = torch.tensor(self.subject.prefix_ids, dtype=torch.int64).expand(SEQUENCES, -1)
        tokens = torch.cat([prefix, self._tokens], 1)
        started = time.perf_counter()
        for batch in tokens.split(self.subject.batch_tokens // tokens.shape[1]):
            forward(self.subject.model, batch)
        return time.perf_counter() - started

    def split(self) -> tuple[float, float]:
        """Capture once; return time in passes over the same less the time in hooks, and seconds in all."""
        timer = PassTimer()
        with timer.attached(self.subject.model, [place.module for place in self._projections.values()]):
            started = time.perf_counter()
            states = self._captured(self._tokens)
            seconds = time.perf_counter() - started
        neurons = sum(place.neurons for place in self._projections.values())
        self.bytes_per_neuron = sum(_bytes(state) for state in states.values()) / neurons
        # The first pass is the check on one sequence.
        passes, hooks = sum(timer.passes[1:]), sum(timer.hooks[1:])
        return passes / (passes - hooks), seconds

    def _captured(self, tokens: Int[Tensor, "sequence token"]) -> dict[int, LayerState]:
        lookup = {layer: tuple(range(LOOKUP_NEURONS)) for layer in self._projections}
        random_ids = tuple(range(0, len(tokens), max(1, len(tokens) // RANDOM_SEQUENCES)))[:RANDOM_SEQUENCES]
        plan = CapturePlan(TOP_K, self.polarities, random_ids, lookup)
        return capture(
            self.subject, tokens, plan=plan, layers=list(self._projections), progress=SilentProgress()
        )


@dataclass
class PassTimer:
    """Seconds of each forward pass and, within it, of the hooks on some modules."""

    passes: list[float] = field(default_factory=list)
    hooks: list[float] = field(default_factory=list)

    @contextmanager
    def attached(self, model: torch.nn.Module, modules: list[torch.nn.Module]) -> Iterator[None]:
        """While open, time passes of the model's backbone and hooks that are registered on the modules."""
        body = backbone(model)
        body.forward = self._timed_pass(body.forward)
        for module in modules:
            module.register_forward_pre_hook = self._timed_registration(module.register_forward_pre_hook)  # pyright: ignore[reportAttributeAccessIssue]
        try:
            yield
        finally:
            del body.forward
            for module in modules:
                del module.register_forward_pre_hook

    def _timed_pass(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self.hooks.append(0.0)
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:  # a pass ends by an exception after the last layer that is read
                self.passes.append(time.perf_counter() - started)

        return timed

    def _timed_registration(self, register: Callable[..., Any]) -> Callable[..., Any]:
        def registered(hook: Callable[..., Any]) -> Any:
            def timed(module: torch.nn.Module, inputs: tuple[Any, ...]) -> Any:
                started = time.perf_counter()
                try:
                    return hook(module, inputs)
                finally:
                    self.hooks[-1] += time.perf_counter() - started

            return register(timed)

        return registered


def _subject(
    model_type: str, shape: dict[str, Any], *, dtype: torch.dtype, prefix_ids: tuple[int, ...]
) -> Subject:
    model = random_subject(model_type, **shape).to(dtype)
    tokenizer = TokenizerFacts(lambda _: [], (), frozenset(), "none")
    return Subject(
        model, tokenizer, model_type, "random", dtype=dtype, device=torch.device("cpu"), prefix_ids=prefix_ids
    )


def _bytes(state: LayerState) -> int:
    tensors = (getattr(state, item.name) for item in fields(state) if item.name != "lookup_sum")
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))
