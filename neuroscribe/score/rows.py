"""One row of the table of scores."""

from dataclasses import dataclass
from typing import Any

from neuroscribe.measures.estimate import Estimate
from neuroscribe.study.dues import Due


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


@dataclass(frozen=True)
class Marks:
    """What stands beside a score."""

    ceiling: float | None = None
    control: float | None = None
    """Mean over the controls that have a score."""
    n_controls: int = 0
    p: float | None = None


_OF_EXPLANATION = ("explanation_id", "layer", "neuron", "polarity", "sample", "draw")


def score_row(due: Due, basis: Basis, estimate: Estimate, marks: Marks) -> dict[str, Any]:
    """Return a row of SCORES, not yet chosen."""
    return {
        **{name: basis.explanation[name] for name in _OF_EXPLANATION},
        "explainer": due.explainer,
        "scorer": due.scorer,
        "split": basis.split,
        "regime": basis.regime,
        **vars(estimate),
        "n_sequences": basis.n_sequences,
        "n_tokens": basis.n_tokens,
        "n_unreadable": basis.n_unreadable,
        **vars(marks),
        "chosen": False,
    }
