"""The excerpts that a judge is asked about: firing and silent ones of a neuron's held-out exemplars.

A token fires above FIRES times a peak (Paulo et al. 2024). All excerpts of a split come from that split's
exemplars, so that no explainer has seen them; which ones, where they are cut and what is marked is drawn for
each neuron by itself from the study's seed.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.exemplars import Exemplars

FIRES = 0.3
"""Share of a peak above which a token counts as firing."""

Truth = Float[np.ndarray, " token"]


@dataclass(frozen=True)
class Excerpt:
    """A part of one sequence, and whether the neuron fires there."""

    sequence_id: int
    start: int
    stop: int
    kind: str
    label: bool
    marked: tuple[int, ...] = ()
    """Tokens of the sequence that are shown as marked; if any, `label` says whether they fire."""
    item: int = 0
    """Number among the excerpts of its sequence."""

    def overlaps(self, other: "Excerpt") -> bool:
        """Tell whether two excerpts share a token."""
        same = self.sequence_id == other.sequence_id
        return same and self.start < other.stop and other.start < self.stop


@dataclass(frozen=True)
class Negatives:
    """Which silent excerpts are wanted beside random ones."""

    same_token: bool
    """Such as hold a peak's token."""
    nearest: Callable[[Sequence[Excerpt], Sequence[Excerpt]], list[Excerpt]] | None
    """Orders silent excerpts by nearness to the firing ones, nearest first; None: none are wanted."""


def plain_excerpts(
    exemplars: Exemplars, tokens: Sequence[Sequence[int]], *, length: int, negatives: Negatives, seed: str
) -> list[Excerpt]:
    """Return the firing excerpts of one split and, as far as there are any, as many silent ones.

    `tokens` are the token ids of the exemplars. Silent is where no token exceeds FIRES times the smallest
    peak of the firing excerpts. Random ones come from random sequences; those of the other kinds, an equal
    share each, from all sequences of the split.
    """
    draw = random.Random(f"excerpts {seed}")  # noqa: S311 - a seeded draw
    firing = _firing(exemplars)
    if not firing:
        return []
    limit = FIRES * min(peak for _, _, peak in firing)
    windows = _silent(exemplars, length, limit, draw)
    peak_tokens = {tokens[place][position] for place, position, _ in firing}
    holding = [own for place, own in windows if peak_tokens.intersection(tokens[place][own.start : own.stop])]
    random_ones = [own for place, own in windows if exemplars.kinds[place] == "random"]
    shown = [_window(exemplars, place, position, length, draw) for place, position, _ in firing]
    hard = [("same_token", holding)] if negatives.same_token else []
    if negatives.nearest is not None:
        hard.append(("near_text", negatives.nearest([own for _, own in windows], shown)))
    return _numbered([*shown, *_chosen(hard, random_ones, len(shown))])


def marked_excerpts(exemplars: Exemplars, *, length: int, seed: str) -> list[Excerpt]:
    """Return each firing excerpt twice: with its firing tokens marked, and with as many others.

    An excerpt with fewer silent tokens than firing ones is left out.
    """
    draw = random.Random(f"marks {seed}")  # noqa: S311 - a seeded draw
    found: list[Excerpt] = []
    for place, position, peak in _firing(exemplars):
        window = _window(exemplars, place, position, length, draw)
        own = range(window.start, window.stop)
        fires = [token for token in own if exemplars.truth[place][token] > FIRES * peak]
        others = [token for token in own if token not in fires]
        if len(others) >= len(fires):
            wrong = tuple(sorted(draw.sample(others, len(fires))))
            found.append(replace(window, marked=tuple(fires)))
            found.append(replace(window, marked=wrong, kind="other_tokens", label=False))
    return _numbered(found)


def _firing(exemplars: Exemplars) -> list[tuple[int, int, float]]:
    """Return place, peak position and peak of the top exemplars that fire."""
    peaks = [
        (place, int(truth.argmax()), float(truth.max()))
        for place, (truth, kind) in enumerate(zip(exemplars.truth, exemplars.kinds, strict=True))
        if kind == "top"
    ]
    return [found for found in peaks if found[2] > 0]


def _window(exemplars: Exemplars, place: int, position: int, length: int, draw: random.Random) -> Excerpt:
    """Return an excerpt in which the peak stands anywhere."""
    tokens = exemplars.truth.shape[1]
    first, last = max(0, position - length + 1), max(0, min(position, tokens - length))
    start = draw.randint(first, max(first, last))
    return Excerpt(exemplars.sequence_ids[place], start, min(tokens, start + length), "firing", True)


def _silent(
    exemplars: Exemplars, length: int, limit: float, draw: random.Random
) -> list[tuple[int, Excerpt]]:
    """Return all excerpts, half overlapping, on which the neuron stays low, in a drawn order."""
    tokens = exemplars.truth.shape[1]
    found: list[tuple[int, Excerpt]] = []
    for place, sequence in enumerate(exemplars.sequence_ids):
        for start in range(0, max(1, tokens - length + 1), max(1, length // 2)):
            stop = min(tokens, start + length)
            if exemplars.truth[place, start:stop].max() <= limit:
                found.append((place, Excerpt(sequence, start, stop, "random", False)))
    draw.shuffle(found)
    return found


def _chosen(
    hard: Sequence[tuple[str, Sequence[Excerpt]]], plain: Sequence[Excerpt], count: int
) -> list[Excerpt]:
    """Return so many silent excerpts that do not overlap: a share of each hard kind, then random ones.

    Sequences that have given none yet go first.
    """
    share = count // (len(hard) + 1)
    found: list[Excerpt] = []
    for kind, candidates in (*hard, ("random", plain)):
        wanted = count - len(found) if kind == "random" else share
        for own in _spread(candidates, found, wanted):
            found.append(replace(own, kind=kind))
    return found


def _spread(candidates: Sequence[Excerpt], taken: Collection[Excerpt], wanted: int) -> list[Excerpt]:
    found: list[Excerpt] = []
    used = {own.sequence_id for own in taken}
    for fresh in (True, False):
        for own in candidates:
            free = not any(own.overlaps(other) for other in (*taken, *found))
            if len(found) < wanted and free and (not fresh or own.sequence_id not in used):
                found.append(own)
                used.add(own.sequence_id)
    return found


def _numbered(excerpts: Sequence[Excerpt]) -> list[Excerpt]:
    """Return the excerpts with their numbers within their sequences."""
    counts: dict[int, int] = {}
    numbered: list[Excerpt] = []
    for own in excerpts:
        item = counts.get(own.sequence_id, 0)
        counts[own.sequence_id] = item + 1
        numbered.append(replace(own, item=item))
    return numbered
