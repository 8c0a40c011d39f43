"""Scores from choices: how often the right one of several options is chosen under an explanation.

By guessing the share right is one over the number of options, a third for `steering`. The interval is that
of the share over more questions of the same kind about the same neuron, by the same judge (`share_right`);
how far neurons differ, the means over layers say. The control is how often the right option is chosen under
other neurons' explanations: each question has its own, for those whose neurons are among its options would be
sent to these. Answers that cannot be read are left out and counted; where they are more than half there is no
score.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.controls import chance
from neuroscribe.measures.estimate import Estimate
from neuroscribe.measures.shares import share_right
from neuroscribe.score.rows import Basis, Marks, score_row
from neuroscribe.study.dues import Due
from neuroscribe.tables.choices import CHOICES

_Place = tuple[str, str, Neuron, str]


class Choices:
    """Scores one layer's choices."""

    def __init__(self, evidence: LayerEvidence) -> None:
        self._evidence = evidence
        self._own: dict[_Place, list[Mapping[str, Any]]] = {}
        self._controls: dict[tuple[str, str, Neuron], dict[int, list[Mapping[str, Any]]]] = {}
        owners = {
            row["explanation_id"]: (row["explainer"], (row["neuron"], row["polarity"]))
            for row in evidence.tables["explanations"].iter_rows(named=True)
        }
        choices = evidence.tables.get("choices", CHOICES.frame([]))
        for row in choices.filter(pl.col("explanation_id").is_not_null()).iter_rows(named=True):
            self._sort(row, *owners[row["explanation_id"]])

    def _sort(self, row: Mapping[str, Any], explainer: str, owner: Neuron) -> None:
        neuron = (row["neuron"], row["polarity"])
        if owner == neuron:
            place = (row["explanation_id"], row["scorer"], neuron, row["split"])
            self._own.setdefault(place, []).append(row)
        else:
            by_trial = self._controls.setdefault((explainer, row["scorer"], neuron), {})
            by_trial.setdefault(row["trial"], []).append(row)

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of one choosing scorer and explainer."""
        return [
            self._row(due, explanation, split)
            for explanation in self._evidence.explanations(due.explainer)
            for split in self._evidence.study.scored_splits(due.explainer)
        ]

    def _row(self, due: Due, explanation: dict[str, Any], split: str) -> dict[str, Any]:
        neuron = (explanation["neuron"], explanation["polarity"])
        asked = self._own.get((explanation["explanation_id"], due.source, neuron, split), [])
        right = _right(asked)
        own = _scored(explanation, asked, right)
        others = self._held(due, neuron) if split == "test" else []
        shares = [float(np.mean(each)) for each in others]
        control = float(np.mean([answer for each in others for answer in each])) if others else None
        basis = Basis(explanation, split, due.regimes[0], len(right), 0, len(asked) - len(right))
        return score_row(due, basis, own, Marks(None, control, len(others), chance(own.value, shares)))

    def _held(self, due: Due, neuron: Neuron) -> list[list[bool]]:
        """Return whether the right option was chosen under others' explanations.

        Under the first ones of all questions, under the second ones, and so on.
        """
        by_trial = self._controls.get((due.explainer, due.source, neuron), {})
        most = max(map(len, by_trial.values()), default=0)
        ranked = (
            _right([rows[place] for rows in by_trial.values() if place < len(rows)]) for place in range(most)
        )
        return [answers for answers in ranked if answers]


def _right(rows: list[Mapping[str, Any]]) -> list[bool]:
    """Return of each readable answer whether it is right."""
    return [row["chosen"] == row["right"] for row in rows if row["status"] == "ok"]


def _scored(explanation: dict[str, Any], asked: list[Mapping[str, Any]], right: list[bool]) -> Estimate:
    if (status := explanation["status"]) != "ok":
        return Estimate.missing(f"explanation {status}")
    if not asked:
        return Estimate.missing("too few other neurons of the layer do anything else")
    if 2 * len(right) < len(asked):
        return Estimate.missing(f"only {len(right)} of {len(asked)} answers can be read")
    return share_right(sum(right), len(right))
