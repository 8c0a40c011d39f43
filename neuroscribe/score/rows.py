"""One row of the table of scores, and scores of many cases at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from neuroscribe.measures.bootstrap import Estimate
from neuroscribe.study.dues import Due

Case = TypeVar("Case")


@dataclass(frozen=True)
class Basis:
    """What one score rests on."""

    explanation: dict[str, Any]
    """A row of EXPLANATIONS."""
    split: str
    regime: str
    n_sequences: int
    n_tokens: int
    n_unreadable: int = 0


def score_row(
    due: Due, basis: Basis, estimate: Estimate, *, ceiling: float | None, control: Estimate | None
) -> dict[str, Any]:
    """Return a row of SCORES, not yet chosen."""
    return {
        **{name: basis.explanation[name] for name in ("explanation_id", "layer", "neuron", "polarity")},
        "explainer": due.explainer,
        "scorer": due.scorer,
        "split": basis.split,
        "regime": basis.regime,
        **vars(estimate),
        "n_sequences": basis.n_sequences,
        "n_tokens": basis.n_tokens,
        "n_unreadable": basis.n_unreadable,
        "ceiling": ceiling,
        "control": None if control is None else control.value,
        "chosen": False,
    }


def batched(
    cases: Sequence[Case | None],
    shape: Callable[[Case], Any],
    score: Callable[[Sequence[Case]], Sequence[Estimate]],
) -> list[Estimate | None]:
    """Return the score of every case, computed together for cases of one shape; None for None."""
    places: dict[Any, list[int]] = {}
    for place, case in enumerate(cases):
        if case is not None:
            places.setdefault(shape(case), []).append(place)
    estimates: list[Estimate | None] = [None] * len(cases)
    for alike in places.values():
        together = [case for place in alike if (case := cases[place]) is not None]
        for place, estimate in zip(alike, score(together), strict=True):
            estimates[place] = estimate
    return estimates
