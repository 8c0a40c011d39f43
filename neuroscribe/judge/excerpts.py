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


Nearest = Callable[[Sequence[Excerpt], Sequence[Excerpt]], list[Excerpt]]
"""Orders silent excerpts by nearness to the firing ones, nearest first."""


@dataclass(frozen=True)
class Negatives:
    """Which silent excerpts are wanted beside random ones."""

    same_token: bool
    """Such as hold a peak's token."""
    nearest: Nearest | None
    """Finds those near the firing ones; None where none are wanted."""


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
    # By the smallest peak: no silent excerpt then holds what counts as firing in any of the others.
    limit = FIRES * min(peak for _, _, peak in firing)
    windows = _silent(exemplars, length, limit, draw)
    peak_tokens = {tokens[place][position] for place, position, _ in firing}
    holding = [
        excerpt
        for place, excerpt in windows
        if peak_tokens.intersection(tokens[place][excerpt.start : excerpt.stop])
    ]
    random_ones = [excerpt for place, excerpt in windows if exemplars.kinds[place] == "random"]
    shown = [_window(exemplars, place, position, length, draw) for place, position, _ in firing]
    hard = [("same_token", holding)] if negatives.same_token else []
    if negatives.nearest is not None:
        hard.append(("near_text", negatives.nearest([excerpt for _, excerpt in windows], shown)))
    return _numbered([*shown, *_chosen(hard, random_ones, len(shown))])


def marked_excerpts(exemplars: Exemplars, *, length: int, seed: str) -> list[Excerpt]:
    """Return each firing excerpt twice: with its firing tokens marked, and with as many others.

    An excerpt with fewer silent tokens than firing ones is left out.
    """
    draw = random.Random(f"marks {seed}")  # noqa: S311 - a seeded draw
    excerpts: list[Excerpt] = []
    for place, position, peak in _firing(exemplars):
        window = _window(exemplars, place, position, length, draw)
        inside = range(window.start, window.stop)
        fires = [token for token in inside if exemplars.truth[place][token] > FIRES * peak]
        others = [token for token in inside if token not in fires]
        # As many wrong marks as right ones: else a judge could tell them by their number.
        if len(others) >= len(fires):
            wrong = tuple(sorted(draw.sample(others, len(fires))))
            excerpts.append(replace(window, marked=tuple(fires)))
            excerpts.append(replace(window, marked=wrong, kind="other_tokens", label=False))
    return _numbered(excerpts)


def _firing(exemplars: Exemplars) -> list[tuple[int, int, float]]:
    """Return place, peak position and peak of the top exemplars that fire."""
    peaks = [
        (place, int(truth.argmax()), float(truth.max()))
        for place, (truth, kind) in enumerate(zip(exemplars.truth, exemplars.kinds, strict=True))
        if kind == "top"
    ]
    return [top for top in peaks if top[2] > 0]


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
    silent: list[tuple[int, Excerpt]] = []
    for place, sequence in enumerate(exemplars.sequence_ids):
        for start in range(0, max(1, tokens - length + 1), max(1, length // 2)):
            stop = min(tokens, start + length)
            if exemplars.truth[place, start:stop].max() <= limit:
                silent.append((place, Excerpt(sequence, start, stop, "random", False)))
    draw.shuffle(silent)
    return silent


def _chosen(
    hard: Sequence[tuple[str, Sequence[Excerpt]]], plain: Sequence[Excerpt], count: int
) -> list[Excerpt]:
    """Return `count` silent excerpts that do not overlap: a share of each hard kind, then random ones.

    Sequences that have given none yet go first.
    """
    share = count // (len(hard) + 1)
    chosen: list[Excerpt] = []
    for kind, candidates in (*hard, ("random", plain)):
        wanted = count - len(chosen) if kind == "random" else share
        for excerpt in _spread(candidates, chosen, wanted):
            chosen.append(replace(excerpt, kind=kind))
    return chosen


def _spread(candidates: Sequence[Excerpt], taken: Collection[Excerpt], wanted: int) -> list[Excerpt]:
    chosen: list[Excerpt] = []
    used = {excerpt.sequence_id for excerpt in taken}
    for fresh in (True, False):
        for excerpt in candidates:
            free = not any(excerpt.overlaps(other) for other in (*taken, *chosen))
            if len(chosen) < wanted and free and (not fresh or excerpt.sequence_id not in used):
                chosen.append(excerpt)
                used.add(excerpt.sequence_id)
    return chosen


def _numbered(excerpts: Sequence[Excerpt]) -> list[Excerpt]:
    """Return the excerpts with their numbers within their sequences."""
    counts: dict[int, int] = {}
    numbered: list[Excerpt] = []
    for excerpt in excerpts:
        item = counts.get(excerpt.sequence_id, 0)
        counts[excerpt.sequence_id] = item + 1
        numbered.append(replace(excerpt, item=item))
    return numbered
