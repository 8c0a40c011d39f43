"""Draws the sequences on which an explanation is scored: a sample of the corpus whose weights are known.

Sequences are sorted into strata by the neuron's own peak in them, and each stratum is sampled by itself. Most
of a correlation is decided where the neuron is strong, which a plain random sample hardly meets, and the rest
must be there in its true share, which a sample of top exemplars lacks. A label that adds rare tokens to the
right ones is caught only among the sequences `near` the label: a stratum of its own where an encoder is.

Each drawn sequence stands for (size of its stratum) / (number drawn of it) sequences: Horvitz and Thompson
1952; the shares of the draws were found on true activations (docs/scores.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

STRATA = ("top", "near", "high", "middle", "low")
"""In this order strata are told apart: the first that takes a sequence has it."""
_HIGH, _MIDDLE = 0.1, 0.5
"""Shares of the population, from the largest peak on, at which `high` and `middle` end."""
_NEAR = 0.1
"""Share of the sequences below the top that are near a label."""
_BY_PEAK = {"top": 0.25, "high": 0.3, "middle": 0.25, "low": 0.2}
_WITH_NEAR = {"top": 0.2, "near": 0.3, "high": 0.3, "low": 0.2}


@dataclass(frozen=True)
class Drawn:
    """Sequences drawn from a population, in an order whose every beginning is spread over the strata."""

    places: Int[np.ndarray, " drawn"]
    """Places in the population."""
    strata: tuple[str, ...]
    sizes: tuple[int, ...]
    """Sequences of the population in the stratum of each."""


def drawn(
    peaks: Float[np.ndarray, " sequence"],
    order: Int[np.ndarray, " sequence"],
    *,
    count: int,
    top: int,
    nearness: Float[np.ndarray, " sequence"] | None = None,
    first: Sequence[int] = (),
    without: Sequence[int] = (),
) -> Drawn:
    """Draw `count` sequences of a population, or all of a smaller one.

    `peaks` are the neuron's, largest activation on the explained side; `order` is a random permutation by
    which sequences are taken within a stratum. The `top` largest peaks are a stratum; of these the places in
    `first` are taken before others. `nearness` to the label, where it is given, makes
    the stratum `near`. Places in `without` are not drawn, and count in the sizes all the same.
    """
    of = strata(peaks, top=top, nearness=nearness)
    taken = np.zeros(len(peaks), dtype=bool)
    taken[list(without)] = True
    preferred = np.zeros(len(peaks), dtype=bool)
    preferred[list(first)] = True
    queues = {name: np.flatnonzero((of == index) & ~taken) for index, name in enumerate(STRATA)}
    shares = _BY_PEAK if nearness is None else _WITH_NEAR
    counts = _allotted({name: len(queue) for name, queue in queues.items()}, shares, count)
    chosen = {
        name: queue[np.argsort(order[queue], kind="stable")][: counts[name]] for name, queue in queues.items()
    }
    chosen["top"] = _of_the_top(queues["top"], counts["top"], peaks, order, preferred)
    rows = [
        ((place + 0.5) / counts[name], index, int(sequence))
        for index, name in enumerate(STRATA)
        for place, sequence in enumerate(chosen[name])
    ]
    rows.sort()
    names = tuple(STRATA[index] for _, index, _ in rows)
    sizes = [int((of == index).sum()) for _, index, _ in rows]
    return Drawn(np.array([place for *_, place in rows], dtype=np.int64), names, tuple(sizes))


def strata(
    peaks: Float[np.ndarray, " sequence"],
    *,
    top: int,
    nearness: Float[np.ndarray, " sequence"] | None = None,
) -> Int[np.ndarray, " sequence"]:
    """Return the stratum of each sequence of a population, as a place in STRATA.

    With `nearness`, `middle` and `low` are one stratum (`low`): few draws are left for them.
    """
    n = len(peaks)
    rank = np.empty(n, dtype=np.int64)
    # Equal ones by place, never by `order`: what the order has put into a stratum it would then draw first.
    rank[np.argsort(-peaks, kind="stable")] = np.arange(n)
    of = np.where(rank < _HIGH * n, STRATA.index("high"), STRATA.index("middle"))
    of[rank >= (_MIDDLE if nearness is None else _HIGH) * n] = STRATA.index("low")
    below = rank >= top
    if nearness is not None:
        closest = np.argsort(-nearness, kind="stable")
        closest = closest[below[closest]]
        of[closest[: round(_NEAR * len(closest))]] = STRATA.index("near")
    of[~below] = STRATA.index("top")
    return of


def _of_the_top(
    places: Int[np.ndarray, " place"],
    count: int,
    peaks: Float[np.ndarray, " sequence"],
    order: Int[np.ndarray, " sequence"],
    preferred: Bool[np.ndarray, " sequence"],
) -> Int[np.ndarray, " drawn"]:
    """Return `count` of the top, preferred ones before others, either at even distances over the ranks."""
    ranked = places[np.lexsort((order[places], -peaks[places]))]
    first = _spread(ranked[preferred[ranked]], count)
    return np.concatenate([first, _spread(ranked[~preferred[ranked]], count - len(first))])


def _spread(ranked: Int[np.ndarray, " ranked"], count: int) -> Int[np.ndarray, " drawn"]:
    if count >= len(ranked):
        return ranked
    return ranked[((np.arange(count) + 0.5) * len(ranked) / max(count, 1)).astype(np.int64)]


def _allotted(room: dict[str, int], shares: dict[str, float], count: int) -> dict[str, int]:
    """Return how many sequences each stratum gets: its share of `count`, the nearest whole numbers.

    What a small stratum can not give goes to the others, one after the other.
    """
    shared = {name: shares.get(name, 0.0) * count for name in room}
    counts = {name: min(room[name], int(share)) for name, share in shared.items()}
    wanting = sorted(shared, key=lambda name: int(shared[name]) - shared[name])
    while (left := count - sum(counts.values())) > 0:
        open_ = [name for name in wanting if counts[name] < room[name]]
        if not open_:
            break
        for name in open_[:left]:
            counts[name] += 1
    return counts
