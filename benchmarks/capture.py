"""What capture costs on top of the subject's forward pass, in the same run.

Subjects have the shape of a real model and random weights: speed does not depend on the values, and nothing
is downloaded. The whole of `capture()` is measured; only the hooks that it registers are timed apart.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from benchmarks.figures import Figure, figure
from benchmarks.pass_timer import PassTimer
from neuroscribe.capture import CapturePlan, LayerState, automatic_batch_tokens, capture
from neuroscribe.capture.plan import quantile_pools
from neuroscribe.subject.architectures import down_projections
from neuroscribe.subject.compiled import CompiledBackbone, fuse_gelu
from neuroscribe.subject.hooks import forward
from neuroscribe.subject.subject import Subject
from neuroscribe.testing.random_subjects import as_subject, random_subject
from neuroscribe.testing.stores import SilentProgress
from resources.models.weights import computing_dtype

SEQUENCES, LENGTH, REPEATS = 512, 64, 5
LATE_SEQUENCES = 16_384
"""Enough for the top 20 to have settled."""
_BF16 = "_bf16"
TOP_K, RANDOM_SEQUENCES = 20, 30
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
    yield from _gpt2_figures()
    yield from _smollm2_figures()
    one_layer = _subject("gpt2", GPT2_WIDTH | {"n_layer": 1}, torch.float32)
    late = Run(one_layer, (1,), LATE_SEQUENCES, everything=False)
    late.warm_up()
    name = "capture.split_ratio.gpt2_width_16k"
    yield figure(name, [late.split()], "x forward", n=LATE_SEQUENCES, detail=", float32")


def _gpt2_figures() -> Iterator[Figure]:
    """Compare capture with the plain backbone, and the optimised capture with the same plain backbone."""
    wide = torch.float32
    plain = Run(_subject("gpt2", GPT2_WIDTH, wide), (1,), everything=False)
    optimised: dict[str, Run] = {}
    for suffix, dtype in dtypes().items():
        optimised[f"gpt2_width{suffix}"] = Run(_subject("gpt2", GPT2_WIDTH, dtype, fused=True), (1,))
        compiled = _subject("gpt2", GPT2_WIDTH, dtype, compiled=True)
        optimised[f"gpt2_width_compiled{suffix}"] = Run(compiled, (1,))
    yield from _ratio_figures("gpt2_width", plain, optimised)
    yield from _split_figures("gpt2_width_histogram", replace(plain, everything=True))


def _smollm2_figures() -> Iterator[Figure]:
    plain: dict[str, Run] = {}
    optimised: dict[str, Run] = {}
    for suffix, dtype in dtypes().items():
        compiled = _subject("llama", SMOLLM2, dtype, prefix_ids=(0,), compiled=True)
        plain[suffix] = Run(_subject("llama", SMOLLM2, dtype, prefix_ids=(0,)), (1, -1), everything=False)
        optimised[f"smollm2_compiled{suffix}"] = Run(compiled, (1, -1))
    if _BF16 in plain:
        optimised["smollm2"] = replace(plain[_BF16], everything=True)
    yield from _ratio_figures("smollm2_fp32", plain[""], optimised)
    yield from _split_figures("smollm2_fp32_histogram", replace(plain[""], everything=True))
    if _BF16 in plain:
        yield from _ratio_figures("smollm2", plain[_BF16], {})
        yield from _split_figures("smollm2_histogram", optimised["smollm2"])


def dtypes() -> dict[str, torch.dtype]:
    """Return the dtypes that this processor computes in, by what figures' names end in."""
    if computing_dtype(torch.bfloat16, torch.device("cpu")) == torch.bfloat16:
        return {"": torch.float32, _BF16: torch.bfloat16}
    print("this processor does not compute in bfloat16: figures with it are left out")
    return {"": torch.float32}


def _ratio_figures(name: str, plain: "Run", optimised: "dict[str, Run]") -> Iterator[Figure]:
    """Yield the split ratio, beside it that of whole runs, and whole optimised runs over the plain pass."""
    for run in (plain, *optimised.values()):
        run.warm_up()
    rounds = [
        (plain.split(), plain.bare(), plain.whole(), [run.whole() for run in optimised.values()])
        for _ in range(REPEATS)
    ]
    detail = f", {plain.subject.dtype}".replace("torch.", "")
    split, whole = [times[0] for times in rounds], [times[2] / times[1] for times in rounds]
    yield figure(f"capture.split_ratio.{name}", split, "x forward", n=SEQUENCES, detail=detail)
    yield figure(f"capture.whole_ratio.{name}", whole, "x forward", n=SEQUENCES, detail=detail)
    for place, (other, run) in enumerate(optimised.items()):
        ratios = [times[3][place] / times[1] for times in rounds]
        dtypes = f", {run.subject.dtype} over {plain.subject.dtype}".replace("torch.", "")
        yield figure(
            f"capture.optimised_ratio.{other}", ratios, "x plain forward", n=SEQUENCES, detail=dtypes
        )


def _split_figures(name: str, run: "Run") -> Iterator[Figure]:
    """Yield the split ratio alone."""
    run.warm_up()
    detail = f", {run.subject.dtype}".replace("torch.", "")
    splits = [run.split() for _ in range(REPEATS)]
    yield figure(f"capture.split_ratio.{name}", splits, "x forward", n=SEQUENCES, detail=detail)


@dataclass
class Run:
    """Captures one subject over random tokens, again and again."""

    subject: Subject
    polarities: tuple[int, ...]
    sequences: int = SEQUENCES
    everything: bool = True
    """Whether the histogram of all tokens is kept as well: the default study."""

    def __post_init__(self) -> None:
        self._projections = down_projections(self.subject.model)
        vocabulary: int = self.subject.model.config.vocab_size
        self._tokens = random_tokens(self.sequences, vocabulary)

    def warm_up(self) -> None:
        """Let kernels compile and memory settle."""
        self._captured(self._tokens[: RANDOM_SEQUENCES + TOP_K])

    def bare(self) -> float:
        """Return the seconds of the backbone alone over all sequences, in the batches that capture makes."""
        prefix = torch.tensor(self.subject.prefix_ids, dtype=torch.int64).expand(self.sequences, -1)
        tokens = torch.cat([prefix, self._tokens], 1)
        started = time.perf_counter()
        for batch in tokens.split(max(1, self.subject.batch_tokens // tokens.shape[1])):
            forward(self.subject.model, batch)
        return time.perf_counter() - started

    def whole(self) -> float:
        """Return the seconds of a whole capture."""
        started = time.perf_counter()
        self._captured(self._tokens)
        return time.perf_counter() - started

    def split(self) -> float:
        """Capture once, in full passes; return the time in passes over the same less the time in hooks."""
        timer = PassTimer()
        with timer.attached(self.subject.model, [place.module for place in self._projections.values()]):
            self._captured(self._tokens)
        # The first pass is the check on one sequence.
        passes, hooks = sum(timer.passes[1:]), sum(timer.hooks[1:])
        return passes / (passes - hooks)

    def _captured(self, tokens: Int[Tensor, "sequence token"]) -> dict[int, LayerState]:
        layers = list(self._projections)
        plan = study_plan(len(tokens), self.polarities, everything=self.everything)
        return capture(self.subject, tokens, plan=plan, layers=layers, progress=SilentProgress())


def study_plan(sequences: int, polarities: tuple[int, ...], *, everything: bool = True) -> CapturePlan:
    """Return what the default study keeps, of a corpus of any size.

    Not `everything` leaves out the histogram of all tokens.
    """
    random_ids = tuple(range(0, sequences, max(1, sequences // RANDOM_SEQUENCES)))[:RANDOM_SEQUENCES]
    pools = quantile_pools(sequences, random_ids, exemplars=1, seed=0)
    return CapturePlan(TOP_K, polarities, random_ids, pools, token_histogram=everything)


def random_tokens(sequences: int, vocabulary: int) -> Int[Tensor, "sequence token"]:
    """Return tokens drawn with a fixed seed."""
    return torch.randint(vocabulary, (sequences, LENGTH), generator=torch.Generator().manual_seed(0))


def _subject(
    model_type: str,
    shape: dict[str, Any],
    dtype: torch.dtype,
    *,
    prefix_ids: tuple[int, ...] = (),
    fused: bool = False,
    compiled: bool = False,
) -> Subject:
    model = random_subject(model_type, **shape).to(dtype)
    if fused:
        fuse_gelu(model)
    batch = automatic_batch_tokens(model, torch.device("cpu"))
    graph = CompiledBackbone(model) if compiled else None
    return as_subject(model, prefix_ids=prefix_ids, batch_tokens=batch, compiled=graph)
