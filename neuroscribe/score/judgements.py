"""Scores from judgements: balanced accuracy and AUC over excerpts, with the shuffled control.

- `balanced_accuracy`: mean of the shares of firing and of silent excerpts that were told rightly (1/2 by
  guessing, whatever the shares of the two)
- `auc`: the chance that a firing excerpt gets a higher probability than a silent one, ties counting half
  (area under the ROC curve)

Their intervals are over sequences: answers about excerpts of one sequence count as tied (`measures.shares`).
Answers that cannot be read are left out and counted; where they are more than half there is no score.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Integer

from neuroscribe.evidence.controls import held_controls
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.controls import chance
from neuroscribe.measures.estimate import Estimate
from neuroscribe.measures.shares import auc, balanced_accuracy
from neuroscribe.score.rows import Basis, Marks, score_row
from neuroscribe.study.dues import PAPER, Due
from neuroscribe.tables.judged import JUDGEMENTS


@dataclass(frozen=True)
class Answers:
    """The readable answers about one explanation on one neuron's excerpts."""

    labels: Bool[np.ndarray, " excerpt"]
    said: Bool[np.ndarray, " excerpt"]
    probabilities: Float[np.ndarray, " excerpt"]
    """NaN where the judge gave none."""
    sequence_ids: Integer[np.ndarray, " excerpt"]
    n_asked: int

    @property
    def reason(self) -> str | None:
        """Why these answers give no score, or None."""
        readable = len(self.labels)
        if not self.n_asked:
            return "nothing to judge"
        if 2 * readable < self.n_asked:
            return f"only {readable} of {self.n_asked} answers can be read"
        if self.labels.all():
            return "no silent excerpt was judged"
        return None if self.labels.any() else "no firing excerpt was judged"


def judged(measure: str, answers: Answers) -> Estimate:
    """Return the balanced accuracy, or the AUC, of the answers about one explanation."""
    if answers.reason is not None:
        return Estimate.missing(answers.reason)
    if measure != "auc":
        return balanced_accuracy(answers.labels == answers.said, answers.labels, answers.sequence_ids)
    if not np.isfinite(answers.probabilities).all():
        return Estimate.missing("the judge gives no probabilities")
    return auc(answers.probabilities, answers.labels, answers.sequence_ids)


class Judgements:
    """Scores one layer's judgements."""

    def __init__(self, evidence: LayerEvidence) -> None:
        self._evidence = evidence
        judgements = evidence.tables.get("judgements", JUDGEMENTS.frame([]))
        keys = ["explanation_id", "scorer", "neuron", "polarity", "split"]
        self._asked = judgements.partition_by(keys, as_dict=True, maintain_order=True)
        self._controls = held_controls(evidence.tables["explanations"], judgements, "scorer")

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of one judging scorer's measure and one explainer."""
        return [
            self._row(due, explanation, split)
            for explanation in self._evidence.explanations(due.explainer)
            for split in self._evidence.study.scored_splits(due.explainer)
        ]

    def _row(self, due: Due, explanation: dict[str, Any], split: str) -> dict[str, Any]:
        neuron = (explanation["neuron"], explanation["polarity"])
        asked = self._asked.get((explanation["explanation_id"], due.source, *neuron, split))
        answers = _answers(asked)
        basis = _basis(explanation, split, asked, answers)
        own = _estimate(basis, judged(due.measure, answers))
        others = [
            judged(due.measure, _answers(self._asked.get((control, due.source, *neuron, split)))).value
            for control in self._controls.get((due.explainer, due.source, neuron), [])
        ]
        known = [other for other in others if other is not None]
        marks = Marks(
            self._ceiling(asked, neuron) if due.measure == "auc" else None,
            float(np.mean(known)) if known else None,
            len(others),
            chance(own.value, others),
        )
        return score_row(due, basis, own, marks)

    def _ceiling(self, asked: pl.DataFrame | None, neuron: Neuron) -> float | None:
        """Return the AUC of the token-lookup table: its largest mean in the excerpt, or over the marked."""
        if asked is None:
            return None
        means = self._evidence.looked_up(neuron, asked["sequence_id"].to_list())
        if means is None:
            return None
        values = [_table_value(means[place], row) for place, row in enumerate(asked.iter_rows(named=True))]
        labels = asked["label"].to_numpy()
        sequence_ids = asked["sequence_id"].to_numpy()
        return judged("auc", Answers(labels, labels, np.array(values), sequence_ids, len(labels))).value


def _answers(asked: pl.DataFrame | None) -> Answers:
    if asked is None:
        asked = JUDGEMENTS.frame([])
    read = asked.filter(pl.col("status") == "ok")
    probabilities = read["probability"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    said = read["answer"].fill_null(False).to_numpy()
    sequence_ids = read["sequence_id"].to_numpy()
    return Answers(read["label"].to_numpy(), said, probabilities, sequence_ids, len(asked))


def _basis(explanation: dict[str, Any], split: str, asked: pl.DataFrame | None, answers: Answers) -> Basis:
    readable = len(answers.labels)
    tokens = 0
    if asked is not None:
        read = asked.filter(pl.col("status") == "ok")
        tokens = int((read["stop"] - read["start"]).cast(pl.Int64).sum())
    return Basis(explanation, split, PAPER[0], readable, tokens, answers.n_asked - readable)


def _estimate(basis: Basis, score: Estimate) -> Estimate:
    if (status := basis.explanation["status"]) != "ok":
        return Estimate.missing(f"explanation {status}")
    return score


def _table_value(means: Float[np.ndarray, " token"], row: dict[str, Any]) -> float:
    if row["marked"]:
        return float(means[row["marked"]].mean())
    return float(means[row["start"] : row["stop"]].max())
