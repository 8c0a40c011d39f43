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
    due: Due, basis: Basis, found: Estimate, *, ceiling: float | None, control: float | None
) -> dict[str, Any]:
    """Return a row of SCORES, not yet chosen."""
    return {
        **{name: basis.explanation[name] for name in ("explanation_id", "layer", "neuron", "polarity")},
        "explainer": due.explainer,
        "scorer": due.scorer,
        "split": basis.split,
        "regime": basis.regime,
        **vars(found),
        "n_sequences": basis.n_sequences,
        "n_tokens": basis.n_tokens,
        "n_unreadable": basis.n_unreadable,
        "ceiling": ceiling,
        "control": control,
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
    found: list[Estimate | None] = [None] * len(cases)
    for own in places.values():
        together = [case for place in own if (case := cases[place]) is not None]
        for place, estimate in zip(own, score(together), strict=True):
            found[place] = estimate
    return found
