"""Scores from judgements: balanced accuracy and AUC over excerpts, with the shuffled control.

- `balanced_accuracy`: mean of the shares of firing and of silent excerpts that were told rightly (1/2 by
  guessing, whatever the shares of the two)
- `auc`: the chance that a firing excerpt gets a higher probability than a silent one, ties counting half
  (area under the ROC curve)

Answers that cannot be read are left out and counted; where they are more than half there is no score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from neuroscribe.evidence.controls import held_controls
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.bootstrap import Estimate, draw_weights, estimates, with_interval
from neuroscribe.score.rows import Basis, batched, score_row
from neuroscribe.study.dues import REGIMES, Due
from neuroscribe.tables.records import JUDGEMENTS


@dataclass(frozen=True)
class Answers:
    """The readable answers about one explanation on one neuron's excerpts."""

    labels: Bool[np.ndarray, " excerpt"]
    said: Bool[np.ndarray, " excerpt"]
    probabilities: Float[np.ndarray, " excerpt"]
    """NaN where the judge gave none."""
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


def balanced_accuracies(answers: Sequence[Answers], *, samples: int, seed: int) -> list[Estimate]:
    """Return balanced accuracies of explanations with equally many readable answers."""
    labels = np.stack([each.labels for each in answers])
    right = labels == np.stack([each.said for each in answers])
    parts = [labels & right, labels, ~labels & right, ~labels]
    sums = np.stack(parts, axis=2).astype(np.float64)
    reasons = [each.reason for each in answers]
    return estimates(sums, _balanced, reasons, samples=samples, seed=seed)


def auc(answers: Answers, *, samples: int, seed: int) -> Estimate:
    """Return the area under the ROC curve of one explanation's probabilities."""
    if answers.reason is not None:
        return Estimate.missing(answers.reason)
    if not np.isfinite(answers.probabilities).all():
        return Estimate.missing("the judge gives no probabilities")
    firing, silent = answers.labels, ~answers.labels
    gap = answers.probabilities[firing][:, None] - answers.probabilities[silent][None, :]
    wins = (gap > 0) + 0.5 * (gap == 0)
    weights = draw_weights(len(firing), samples=samples, seed=seed)
    ours, theirs = weights[:, firing], weights[:, silent]
    pairs = ours.sum(1) * theirs.sum(1)
    won = ((ours @ wins) * theirs).sum(1)
    draws = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return with_interval(float(wins.mean()), draws)


class Judgements:
    """Scores one layer's judgements."""

    def __init__(self, evidence: LayerEvidence) -> None:
        self._evidence, self._scoring = evidence, evidence.study.scoring
        judgements = evidence.tables.get("judgements", JUDGEMENTS.frame([]))
        keys = ["explanation_id", "scorer", "neuron", "polarity", "split"]
        self._asked = judgements.partition_by(keys, as_dict=True, maintain_order=True)
        self._controls = held_controls(evidence.tables["explanations"], judgements, "scorer")

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of one judging scorer's measure and one explainer."""
        bases: list[Basis] = []
        answers: list[Answers] = []
        controls: list[Answers | None] = []
        ceilings: list[float | None] = []
        for explanation in self._evidence.explanations(due.explainer):
            neuron = (explanation["neuron"], explanation["polarity"])
            control = self._controls.get((due.explainer, due.source, neuron))
            for split in self._evidence.study.scored_splits(due.explainer):
                asked = self._asked.get((explanation["explanation_id"], due.source, *neuron, split))
                answers.append(_answers(asked))
                about_control = self._asked.get((control, due.source, *neuron, split))
                controls.append(None if control is None else _answers(about_control))
                ceilings.append(self._ceiling(asked, neuron) if due.measure == "auc" else None)
                bases.append(_basis(explanation, split, asked, answers[-1]))
        scores = self._scored(due.measure, answers, self._scoring.bootstrap_samples)
        marks = zip(ceilings, self._scored(due.measure, controls, 0), strict=True)
        return [
            score_row(due, basis, _estimate(basis, score), ceiling=ceiling, control=control)
            for basis, score, (ceiling, control) in zip(bases, scores, marks, strict=True)
        ]

    def _scored(self, measure: str, answers: Sequence[Answers | None], samples: int) -> list[Estimate | None]:
        seed = self._scoring.seed

        def score(together: Sequence[Answers]) -> list[Estimate]:
            if measure == "auc":
                return [auc(each, samples=samples, seed=seed) for each in together]
            return balanced_accuracies(together, samples=samples, seed=seed)

        return batched(answers, lambda each: len(each.labels), score)

    def _ceiling(self, asked: pl.DataFrame | None, neuron: Neuron) -> float | None:
        """Return the AUC of the token-lookup table: its largest mean in the excerpt, or over the marked."""
        if asked is None:
            return None
        means = self._evidence.looked_up(neuron, asked["sequence_id"].to_list())
        if means is None:
            return None
        values = [_table_value(means[place], row) for place, row in enumerate(asked.iter_rows(named=True))]
        labels = asked["label"].to_numpy()
        known = Answers(labels, labels, np.array(values), len(labels))
        return auc(known, samples=0, seed=0).value


def _balanced(sums: Float[np.ndarray, "*shape 4"]) -> Float[np.ndarray, "*shape"]:
    shares = [
        np.divide(sums[..., part], whole, out=np.full(whole.shape, np.nan), where=whole > 0)
        for part, whole in ((0, sums[..., 1]), (2, sums[..., 3]))
    ]
    return (shares[0] + shares[1]) / 2


def _answers(asked: pl.DataFrame | None) -> Answers:
    if asked is None:
        return Answers(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool), np.zeros(0), 0)
    read = asked.filter(pl.col("status") == "ok")
    probabilities = read["probability"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    said = read["answer"].fill_null(False).to_numpy()
    return Answers(read["label"].to_numpy(), said, probabilities, len(asked))


def _basis(explanation: dict[str, Any], split: str, asked: pl.DataFrame | None, answers: Answers) -> Basis:
    readable = len(answers.labels)
    tokens = 0
    if asked is not None:
        read = asked.filter(pl.col("status") == "ok")
        tokens = int((read["stop"] - read["start"]).cast(pl.Int64).sum())
    return Basis(explanation, split, REGIMES[0], readable, tokens, answers.n_asked - readable)


def _estimate(basis: Basis, score: Estimate | None) -> Estimate:
    assert score is not None, "every explanation has answers, if none"
    if (status := basis.explanation["status"]) != "ok":
        return Estimate.missing(f"explanation {status}")
    return score


def _table_value(means: Float[np.ndarray, " token"], row: dict[str, Any]) -> float:
    if row["marked"]:
        return float(means[row["marked"]].mean())
    return float(means[row["start"] : row["stop"]].max())
