"""Data-quality rules as data, what a validator finds, and who may be one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import polars as pl

Severity = Literal["error", "warn"]

Kind = Literal["unique", "within", "value_or_reason", "null_share", "difference", "mean_difference"]
"""What a rule asks of its columns.

- `unique`: no two rows agree in all of them
- `within`: every value that is not null lies between the bounds; a NaN never does
- `value_or_reason`: of the two, exactly one is null in each row
- `null_share`: at most the share `high` of the rows is null
- `difference`: in rows that have both, first minus second lies between the bounds
- `mean_difference`: over rows that have both, the mean of first minus second lies strictly between the bounds
"""

Frame = Literal["scores", "simulated", "due", "correlations", "sampled", "explained", "shares", "coverage"]
"""Which rows a rule is about.

- `scores`: all rows of that table
- `simulated`: those that rest on simulations, without a run of the subject
- `due`: those that an explanation of the random sample owes; an AUC wants probabilities, a silent neuron owes
  nothing, nor does a description to templates, nor what a ranking spared
- `sampled`: of the correlations those of the random sample
- `correlations`, `explained`, `shares`: those that lie between -1 and 1, up to 1, and between 0 and 1
- `coverage`: see the function of that name
"""


@dataclass(frozen=True)
class Rule:
    """One thing that must hold for the rows of a frame."""

    name: str
    kind: Kind
    columns: tuple[str, ...]
    description: str
    low: float | None = None
    high: float | None = None
    severity: Severity = "error"
    frame: Frame = "scores"


@dataclass(frozen=True)
class Verdict:
    """What a validator found for one rule."""

    rule: str
    passed: bool
    severity: Severity
    description: str
    """What must hold."""
    observed: str
    """The finding, for people."""
    measure: float | None
    """The finding as a number (rows in breach, a share or a mean); null when there was nothing to examine."""
    failing: tuple[Mapping[str, object], ...] = ()
    """The rows in breach: the columns that identify them (layer, neuron ...) and the rule's own."""


@runtime_checkable
class Validator(Protocol):
    """Examines a frame by rules."""

    def validate(
        self,
        frame: pl.DataFrame,
        rules: Sequence[Rule],
        *,
        name: str,
        identify: tuple[str, ...] = ("layer", "neuron", "explanation_id"),
    ) -> list[Verdict]:
        """Return one verdict per rule, in their order; a frame without rows passes and says so."""
        ...
