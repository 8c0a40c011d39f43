"""Chooses the text that describes a neuron: the best on `valid`, and a language model's only where it wins.

What costs nothing is the mark: of two texts that are as good, the one without a language model is taken, and
of two of these the one that stands first in the study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from neuroscribe.study.describing import Describing
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.sections import LLM_NEEDS

Row = Mapping[str, Any]
"""A row of EXPLANATIONS."""


@dataclass(frozen=True)
class Choice:
    """What a neuron is described by, and why; beside it the best texts of both sorts."""

    described: Row | None
    why: str
    by_llm: Row | None = None
    free: Row | None = None


class Choosing:
    """Chooses among the explanations of one side at a time; `valid` are the scores that decide, by id."""

    def __init__(
        self, describing: Describing, explainers: Mapping[str, ExplainerSpec], valid: Mapping[str, float]
    ) -> None:
        self._describing, self._explainers, self._valid = describing, explainers, valid

    def choice(self, rows: Sequence[Row]) -> Choice:
        """Return what describes a neuron; `rows` are the side's explanations of draw 0, in any order."""
        texts = [row for row in rows if row["status"] == "ok"]
        every = [row for row in texts if row["explainer"] in self._describing.explainers]
        own = sorted((row for row in every if self._beats_rival(row, texts)), key=self._place)
        beaten = sorted({row["explainer"] for row in every} - {row["explainer"] for row in own})
        notes = [f"{name} is no better than {self._explainers[name].rival}" for name in beaten]
        found = self._among(own)
        return replace(found, why="; ".join([found.why, *notes]))

    def _among(self, own: Sequence[Row]) -> Choice:
        """Return the choice among texts in the order of the study."""
        if len(own) < 2:
            said = "the only text" if own else "no explainer that describes gave a text"
            best = {"by_llm" if self.is_asked(row) else "free": row for row in own}
            return Choice(own[0] if own else None, said, **best)
        scored = [row for row in own if self.valid_score(row) is not None]
        by_llm = self._best([row for row in scored if self.is_asked(row)])
        free = self._best([row for row in scored if not self.is_asked(row)])
        described, why = self._decided(by_llm, free)
        if described is None:
            return Choice(own[0], "no text has a score on valid; the first is shown")
        return Choice(described, why, by_llm, free)

    def is_asked(self, row: Row) -> bool:
        """Tell whether a language model wrote an explanation."""
        return self._explainers[row["explainer"]].needs in LLM_NEEDS

    def valid_score(self, row: Row) -> float | None:
        """Return an explanation's score on `valid`; None where it has none."""
        return self._valid.get(row["explanation_id"])

    def _decided(self, by_llm: Row | None, free: Row | None) -> tuple[Row | None, str]:
        if by_llm is None or free is None:
            return by_llm or free, "the best on valid"
        if self._score(by_llm) > self._score(free):
            return by_llm, f"better on valid than {free['explainer']}, the best without a language model"
        return free, f"no language model's text was better on valid than {free['explainer']}"

    def _beats_rival(self, row: Row, texts: Sequence[Row]) -> bool:
        """Tell whether a text is better than all of its explainer's rival; without a score it beats none."""
        rival = self._explainers[row["explainer"]].rival
        if rival is None:
            return True
        others = [self.valid_score(other) for other in texts if other["explainer"] == rival]
        known = [value for value in others if value is not None]
        return bool(known) and self.valid_score(row) is not None and self._score(row) > max(known)

    def _best(self, rows: Sequence[Row]) -> Row | None:
        # The first of those that are as good, for `rows` are in the order of the study.
        return max(rows, key=self._score, default=None)

    def _score(self, row: Row) -> float:
        return self._valid[row["explanation_id"]]

    def _place(self, row: Row) -> tuple[int, int]:
        return self._describing.explainers.index(row["explainer"]), row["sample_index"]
