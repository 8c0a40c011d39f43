"""Scores from judgements: balanced accuracy and AUC over excerpts, with the shuffled control.

- `balanced_accuracy`: mean of the shares of firing and of silent excerpts that were told rightly (1/2 by
  guessing, whatever the shares of the two)
- `auc`: the chance that a firing excerpt gets a higher probability than a silent one, ties counting half
  (area under the ROC curve)

Answers that cannot be read are left out and counted; where they are more than half there is no score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from neuroscribe.evidence.exemplars import Neuron, by_neuron
from neuroscribe.evidence.lookup import looked_up
from neuroscribe.evidence.tasks import scored_splits
from neuroscribe.measures.bootstrap import Estimate, draw_weights, estimates, with_interval
from neuroscribe.score.rows import Basis, batched, score_row
from neuroscribe.study.dues import REGIMES, Due
from neuroscribe.study.spec import Study
from neuroscribe.text.corpus import token_rows


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
    labels = np.stack([own.labels for own in answers])
    right = labels == np.stack([own.said for own in answers])
    parts = [labels & right, labels, ~labels & right, ~labels]
    sums = np.stack(parts, axis=2).astype(np.float64)
    reasons = [own.reason for own in answers]
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

    def __init__(
        self,
        study: Study,
        explanations: pl.DataFrame,
        judgements: pl.DataFrame,
        lookup: pl.DataFrame,
        sequences: pl.DataFrame,
    ) -> None:
        self._study, self._explanations, self._sequences = study, explanations, sequences
        self._lookup = by_neuron(lookup)
        keys = ["explanation_id", "scorer", "neuron", "polarity", "split"]
        self._asked = judgements.partition_by(keys, as_dict=True, maintain_order=True)
        self._controls = self._found_controls(judgements)

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of one judging scorer's measure and one explainer."""
        bases: list[Basis] = []
        own: list[Answers] = []
        others: list[Answers | None] = []
        ceilings: list[float | None] = []
        explanations = self._explanations.filter(pl.col("explainer") == due.explainer)
        for explanation in explanations.sort("neuron", "polarity", "sample_index").iter_rows(named=True):
            neuron = (explanation["neuron"], explanation["polarity"])
            control = self._controls.get((due.explainer, due.source, neuron))
            for split in scored_splits(self._study, due.explainer):
                asked = self._found(explanation["explanation_id"], due.source, neuron, split)
                own.append(_answers(asked))
                theirs = None if control is None else self._found(control, due.source, neuron, split)
                others.append(None if control is None else _answers(theirs))
                ceilings.append(self._ceiling(asked, neuron) if due.measure == "auc" else None)
                bases.append(_basis(explanation, split, asked, own[-1]))
        samples = self._study.scoring.bootstrap_samples
        found, controls = self._scored(due.measure, own, samples), self._scored(due.measure, others, 0)
        return [
            score_row(
                due,
                basis,
                _estimate(basis, value),
                ceiling=ceiling,
                control=None if control is None else control.value,
            )
            for basis, value, ceiling, control in zip(bases, found, ceilings, controls, strict=True)
        ]

    def _scored(self, measure: str, answers: Sequence[Answers | None], samples: int) -> list[Estimate | None]:
        seed = self._study.scoring.seed

        def score(together: Sequence[Answers]) -> list[Estimate]:
            if measure == "auc":
                return [auc(one, samples=samples, seed=seed) for one in together]
            return balanced_accuracies(together, samples=samples, seed=seed)

        return batched(answers, lambda one: len(one.labels), score)

    def _found(self, explanation_id: str, scorer: str, neuron: Neuron, split: str) -> pl.DataFrame | None:
        return self._asked.get((explanation_id, scorer, *neuron, split))

    def _ceiling(self, asked: pl.DataFrame | None, neuron: Neuron) -> float | None:
        """Return the AUC of the token-lookup table: its largest mean in the excerpt, or over the marked."""
        if asked is None or neuron not in self._lookup:
            return None
        values = [
            _table_value(
                looked_up(self._lookup[neuron], np.array([self._tokens[row["sequence_id"]]]))[0], row
            )
            for row in asked.iter_rows(named=True)
        ]
        labels = asked["label"].to_numpy()
        known = Answers(labels, labels, np.array(values), len(labels))
        return auc(known, samples=0, seed=0).value

    @cached_property
    def _tokens(self) -> dict[int, list[int]]:
        return token_rows(self._sequences)

    def _found_controls(self, judgements: pl.DataFrame) -> dict[tuple[str, str, Neuron], str]:
        columns = self._explanations.select("explanation_id", "explainer", "neuron", "polarity")
        owners = {row[0]: (row[1], (row[2], row[3])) for row in columns.iter_rows()}
        found: dict[tuple[str, str, Neuron], str] = {}
        asked = judgements.select("explanation_id", "scorer", "neuron", "polarity")
        for explanation_id, scorer, *neuron in asked.unique(maintain_order=True).iter_rows():
            explainer, owner = owners[explanation_id]
            if owner != tuple(neuron):
                found.setdefault((explainer, scorer, (neuron[0], neuron[1])), explanation_id)
        return found


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


def _estimate(basis: Basis, found: Estimate | None) -> Estimate:
    assert found is not None, "every explanation has answers, if none"
    if (status := basis.explanation["status"]) != "ok":
        return Estimate.missing(f"explanation {status}")
    return found


def _table_value(means: Float[np.ndarray, " token"], row: dict[str, Any]) -> float:
    if row["marked"]:
        return float(means[row["marked"]].mean())
    return float(means[row["start"] : row["stop"]].max())
