"""What is kept of a layer while the corpus goes by: exact top-k with vectors, moments and histograms.

The state's size does not depend on the number of sequences. Nothing in it depends on how sequences were cut
into batches or shards: ties go to the smaller sequence id, counts are integers, and power sums are added in
order within a block of sequences and exactly between blocks (`neuroscribe.capture.exact`). On a GPU alone the
last bits of a block's power sums depend on the batch (`neuroscribe.capture.batched`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuroscribe.capture.exact import ExactSum
from neuroscribe.errors import CaptureError
from neuroscribe.tables.scales import BINS, PEAK_BINS

EMPTY = np.iinfo(np.int64).max
"""Sequence id of a slot that holds nothing yet: the largest, which loses every tie."""
BLOCK = 1024
"""Sequences whose power sums are added in order; shards begin at multiples of it."""


@dataclass(frozen=True)
class Pool:
    """A random set of sequences of which each neuron keeps those with its largest peaks.

    The largest peaks of a random nth of the corpus are a fair sample of the upper tail of the whole corpus:
    so the exemplars of a quantile band are found in one pass, in memory that does not grow.
    """

    sequence_ids: tuple[int, ...]
    slots: int
    """Sequences kept per neuron and polarity."""


@dataclass(frozen=True)
class CapturePlan:
    """What to keep; equal plans over equal activations keep equal things."""

    top_k: int
    polarities: tuple[int, ...]
    random_ids: tuple[int, ...]
    """Sequences drawn up front that serve every neuron, ascending."""
    pools: tuple[Pool, ...] = ()
    block: int = BLOCK
    token_histogram: bool = True
    """Whether to count every activation in a bin; quantile bands are found without it."""

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """First slot of the top k, then of each pool, then the number of slots."""
        slots = [0, self.top_k]
        for pool in self.pools:
            slots.append(slots[-1] + pool.slots)
        return tuple(slots)

    @cached_property
    def arrays(self) -> tuple[Int[np.ndarray, " bound"], Float[np.ndarray, " polarity"]]:
        """`bounds` and polarities, for compiled code."""
        return np.array(self.bounds), np.array(self.polarities, dtype=np.float32)

    @cached_property
    def members(self) -> Callable[[range], Bool[np.ndarray, "sequence pool"]]:
        """Tells which pools each sequence belongs to; the first column, the top k, takes all.

        The last answer is kept, since each layer of a batch asks the same.
        """
        # Each plan has its own cache: one on the method would hash the plan, long ids and all, at each call.
        return lru_cache(maxsize=1)(self._members)

    def _members(self, ids: range) -> Bool[np.ndarray, "sequence pool"]:
        rows = [[True, *(sequence in pool_ids for pool_ids in self._pool_ids)] for sequence in ids]
        return np.array(rows, dtype=np.bool_)

    @cached_property
    def _pool_ids(self) -> list[frozenset[int]]:
        return [frozenset(pool.sequence_ids) for pool in self.pools]


class Memory(NamedTuple):
    """What compiled code reads and changes of a state, as arrays over the tensors' own memory."""

    pivot: np.ndarray
    sums: np.ndarray
    extremes: np.ndarray
    positive: np.ndarray
    histogram: np.ndarray
    peak_histogram: np.ndarray
    threshold: np.ndarray
    top_value: np.ndarray
    top_sequence: np.ndarray
    top_vector: np.ndarray
    """The bits of bf16 or fp32, as unsigned integers."""


@dataclass
class LayerState:
    """The running state of one layer; all tensors share the layer's neuron axis."""

    top_value: Float[Tensor, "polarity neuron slot"]
    """polarity x peak, unsorted within the top k and within each pool; -inf where a slot is empty."""
    top_sequence: Int[Tensor, "polarity neuron slot"]
    threshold: Float[Tensor, "polarity pool neuron"]
    """The smallest value kept in the top k and in each pool: what lies below it changes nothing."""
    top_vector: Float[Tensor, "polarity neuron slot token"]
    """In the dtype the activations came in, bf16 or fp32."""
    random_vector: Float[Tensor, "random token neuron"]
    pivot: Float[Tensor, " neuron"]
    """About the first activation of the corpus, the same for all shards; sums are taken about it."""
    sums: Float[Tensor, "power neuron"]
    """Sums of (activation - pivot) to the powers 1..4 over the block under way, fp64."""
    limbs: Int[Tensor, "power limb neuron"]
    """The same over the blocks before, as an exact sum."""
    limb_top: Int[Tensor, "power neuron"]
    extremes: Float[Tensor, "two neuron"]
    """Smallest and largest activation."""
    positive: Int[Tensor, " neuron"]
    histogram: Int[Tensor, "neuron bin"]
    """Of all activations; without bins where the plan leaves it out."""
    peak_histogram: Int[Tensor, "polarity neuron peak_bin"]
    """Histogram of polarity x peak over sequences."""
    ranges: tuple[tuple[int, int], ...] = ()
    """Sequences taken so far, as ascending ranges (first, past the last) that do not touch."""

    @cached_property
    def memory(self) -> Memory:
        """The arrays for compiled code, looked up once.

        These tensors change in place alone: another tensor in such a field would not be seen.
        """
        # numpy has no bf16; compiled code writes these vectors and never reckons with them.
        bits = torch.uint16 if self.top_vector.dtype == torch.bfloat16 else torch.uint32
        shared = {name: getattr(self, name).numpy() for name in Memory._fields if name != "top_vector"}
        return Memory(**shared, top_vector=self.top_vector.view(bits).numpy())

    @property
    def sequences(self) -> int:
        """Number of sequences taken so far."""
        return sum(stop - first for first, stop in self.ranges)

    @property
    def stop(self) -> int:
        """The id after the last one taken."""
        return self.ranges[-1][1] if self.ranges else 0

    def extend(self, first: int, stop: int) -> None:
        """Note that the sequences from `first` to before `stop` have been taken."""
        # Nearly always the next sequences, which need no look at the ranges before.
        *before, (start, end) = self.ranges or ((first, first),)
        self.ranges = (*before, (start, stop)) if end == first else joined([*self.ranges, (first, stop)])

    def fold(self) -> None:
        """Add the sums of the block under way to the exact ones; every block ends with this.

        Raises CaptureError where a sum is not finite.
        """
        if not bool(torch.isfinite(self.sums).all()):
            raise CaptureError(
                "a sum of activations is not finite; run the subject in another dtype (subject.dtype)"
            )
        exact = self._exact()
        self.limbs, self.limb_top = torch.from_numpy(exact.limbs), torch.from_numpy(exact.top)  # pyright: ignore[reportUnknownMemberType]
        self.sums.zero_()

    def totals(self) -> Float[np.ndarray, "power neuron"]:
        """Return the power sums about the pivot over all blocks, rounded to fp64."""
        return self._exact().rounded()

    def _exact(self) -> ExactSum:
        exact = ExactSum(self.limbs.numpy(), self.limb_top.numpy())
        exact.add(self.sums.cpu().numpy())
        return exact

    def tensors(self) -> dict[str, Tensor]:
        """Return the state for storage."""
        return {name: getattr(self, name).contiguous().cpu() for name in sorted(self.tensor_names())}

    @classmethod
    def tensor_names(cls) -> set[str]:
        """Return what `tensors` are called."""
        return {item.name for item in fields(cls) if item.name != "ranges"}

    def on(self, device: torch.device) -> "LayerState":
        """Return the state on a device; exact sums stay on the CPU: they are numpy's work, once a block."""
        staying = ("ranges", "limbs", "limb_top")
        moved = {
            item.name: getattr(self, item.name).to(device)
            for item in fields(self)
            if item.name not in staying
        }
        return replace(self, **moved)

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], ranges: tuple[tuple[int, int], ...]) -> "LayerState":
        """Return a state as it was stored by `tensors`."""
        return cls(**{name: tensor.clone() for name, tensor in tensors.items()}, ranges=ranges)


def joined(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return ranges in ascending order, touching ones as one; raises CaptureError where they overlap."""
    merged: list[tuple[int, int]] = []
    for first, stop in sorted(ranges):
        if merged and first < merged[-1][1]:
            raise CaptureError(
                f"sequences {first} to {min(stop, merged[-1][1]) - 1} are in two of the states to be merged;"
                " merge each shard once"
            )
        touches = bool(merged) and first == merged[-1][1]
        merged[-1:] = [(merged[-1][0], stop)] if touches else [*merged[-1:], (first, stop)]
    return tuple(merged)


def empty_state(
    plan: CapturePlan,
    *,
    neurons: int,
    tokens: int,
    pivot: Float[Tensor, " neuron"] | None = None,
    dtype: torch.dtype = torch.float32,
) -> LayerState:
    """Return the state before any sequence, on the CPU.

    `neurons` wide, for sequences of `tokens`; vectors in `dtype`, bf16 or fp32.
    """
    sides, slots = len(plan.polarities), plan.bounds[-1]
    exact = ExactSum.zero(4, neurons)
    return LayerState(
        # Below every activation, so that the first sequences enter without a case of their own.
        top_value=torch.full((sides, neurons, slots), -torch.inf),
        top_sequence=torch.full((sides, neurons, slots), EMPTY, dtype=torch.int64),
        threshold=torch.full((sides, 1 + len(plan.pools), neurons), -torch.inf),
        top_vector=torch.zeros(sides, neurons, slots, tokens, dtype=dtype),
        random_vector=torch.zeros(len(plan.random_ids), tokens, neurons, dtype=dtype),
        pivot=torch.zeros(neurons) if pivot is None else pivot,
        sums=torch.zeros(4, neurons, dtype=torch.float64),
        limbs=torch.from_numpy(exact.limbs),  # pyright: ignore[reportUnknownMemberType]
        limb_top=torch.from_numpy(exact.top),  # pyright: ignore[reportUnknownMemberType]
        # The neutral elements of minimum and maximum.
        extremes=torch.tensor([[torch.inf], [-torch.inf]]).repeat(1, neurons),
        positive=torch.zeros(neurons, dtype=torch.int64),
        # In 32 bits, for half the memory to count in; `check_tokens` refuses corpora that overflow them.
        histogram=torch.zeros(neurons, BINS if plan.token_histogram else 0, dtype=torch.int32),
        peak_histogram=torch.zeros(sides, neurons, PEAK_BINS, dtype=torch.int32),
    )
