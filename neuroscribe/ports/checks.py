"""Data-quality rules as data, the rows that they are about, what a validator finds, and who may be one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, runtime_checkable

import polars as pl

from neuroscribe.ports.sources import TableReader
from neuroscribe.study.spec import Study

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
    frame: str = "scores"
    """Which rows it is about: a name in what the rows of its suite return."""


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


@dataclass(frozen=True)
class Rows:
    """Rows that some rules are about."""

    frame: pl.DataFrame
    identify: tuple[str, ...] = ("layer", "neuron", "explanation_id")
    """The columns by which rows in breach are named, with what a reader wants to see beside them."""


@dataclass(frozen=True)
class Told:
    """What was told as a table was made, by name: of the one that is there, and of the one before it."""

    now: Mapping[str, object] = field(default_factory=dict[str, object])
    before: Mapping[str, object] = field(default_factory=dict[str, object])


class Suite(ABC):
    """The rules of what one stage makes, and where the rows are found that they are about."""

    stage: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    """Stages whose tables the rows rest on as well."""
    beside: ClassVar[tuple[str, ...]] = ()
    """Rules by which a layer is held against the nearest layers: these are examined anew when it is."""

    @abstractmethod
    def rules(self, study: Study) -> tuple[Rule, ...]:
        """Return the rules of a study."""

    @abstractmethod
    def rows(self, study: Study, layer: int | None, tables: TableReader, told: Told) -> Mapping[str, Rows]:
        """Return the rows of a layer (None for a stage without layers), by frame."""


def examined(
    validator: Validator, rules: Sequence[Rule], rows: Mapping[str, Rows], *, name: str
) -> list[Verdict]:
    """Return one verdict per rule, frame by frame; `name` says what is examined."""
    by_frame = {frame: [rule for rule in rules if rule.frame == frame] for frame in rows}
    return [
        verdict
        for frame, about in by_frame.items()
        if about
        for verdict in validator.validate(
            rows[frame].frame, about, name=f"{name} {frame}", identify=rows[frame].identify
        )
    ]
