"""Scores from ablations: how much of what a mean ablation breaks the simulated activations put right.

1 - E[JSD(simulated)] / E[JSD(mean)] over the scored sequences (Bills et al. 2023, ablation scoring): 1 where
the subject predicts as before, 0 where the simulation is no better than the neuron's mean, below that worse.
"""

from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from neuroscribe.evidence.exemplars import Neuron, by_neuron, scored_exemplars
from neuroscribe.evidence.tasks import scored_splits
from neuroscribe.measures.agreement import ratio_explained
from neuroscribe.measures.bootstrap import Estimate, estimates
from neuroscribe.score.rows import Basis, batched, score_row
from neuroscribe.study.dues import REGIMES, Due
from neuroscribe.study.spec import Study

_SPLIT = "test"
"""The subject is run on what is reported alone."""

_ROUNDING = 1e-12
"""Nats a token that logits in fp32 differ by from rounding alone: their last bit (2e-6 of 30), squared."""

Sums = Float[np.ndarray, "_ 2"]
"""Divergences under the mean and under the simulation, by sequence."""


class Ablations:
    """Scores one layer's ablations."""

    def __init__(
        self, study: Study, explanations: pl.DataFrame, ablations: pl.DataFrame, records: pl.DataFrame
    ) -> None:
        self._study, self._explanations = study, explanations
        self._records = by_neuron(records)
        owners = explanations.select("explanation_id", "explainer", "neuron", "polarity")
        self._owners = {row[0]: (row[1], (row[2], row[3])) for row in owners.iter_rows()}
        self._found: dict[tuple[str, str, Neuron], dict[int, tuple[float, float]]] = {}
        self._controls: dict[tuple[str, str, Neuron], str] = {}
        for row in ablations.iter_rows(named=True):
            neuron = (row["neuron"], row["polarity"])
            place = (row["explanation_id"], row["simulator"], neuron)
            pair = (row["mean_divergence"], row["simulated_divergence"])
            self._found.setdefault(place, {})[row["sequence_id"]] = pair
            explainer, owner = self._owners[row["explanation_id"]]
            if owner != neuron:
                self._controls.setdefault((explainer, row["simulator"], neuron), row["explanation_id"])

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of the ablation score of one simulator and explainer."""
        bases: list[Basis] = []
        own: list[Sums | None] = []
        others: list[Sums | None] = []
        explanations = self._explanations.filter(pl.col("explainer") == due.explainer)
        for explanation in explanations.sort("neuron", "polarity", "sample_index").iter_rows(named=True):
            neuron = (explanation["neuron"], explanation["polarity"])
            control = self._controls.get((due.explainer, due.source, neuron))
            for split in scored_splits(self._study, due.explainer):
                for regime in REGIMES:
                    ids = self._sequences(neuron, split, regime)
                    sums = self._sums(explanation["explanation_id"], due.source, neuron, ids)
                    own.append(sums)
                    others.append(None if control is None else self._sums(control, due.source, neuron, ids))
                    n = 0 if sums is None else len(sums)
                    tokens = n * self._study.corpus.sequence_length
                    bases.append(Basis(explanation, split, regime, n, tokens))
        found = self._scored(own, self._study.scoring.bootstrap_samples)
        controls = self._scored(others, 0)
        return [
            score_row(
                due,
                basis,
                value or Estimate.missing(_why_not(basis)),
                ceiling=None,
                control=None if control is None else control.value,
            )
            for basis, value, control in zip(bases, found, controls, strict=True)
        ]

    def _scored(self, sums: list[Sums | None], samples: int) -> list[Estimate | None]:
        def score(together: Any) -> list[Estimate]:
            stacked = np.stack(together)
            reasons = [
                None if own[:, 0].mean() > _ROUNDING else "ablation to the mean changes nothing"
                for own in stacked
            ]
            seed = self._study.scoring.seed
            return estimates(stacked, ratio_explained, reasons, samples=samples, seed=seed)

        return batched(sums, len, score)

    def _sequences(self, neuron: Neuron, split: str, regime: str) -> list[int]:
        scoring, polarities = self._study.scoring, self._study.polarities
        shown = scored_exemplars(
            self._records[neuron], split, per_kind=scoring.sequences_per_split, polarities=polarities
        )
        pairs = zip(shown.sequence_ids, shown.kinds, strict=True)
        return [sequence for sequence, kind in pairs if regime == REGIMES[0] or kind == "random"]

    def _sums(self, explanation_id: str, simulator: str, neuron: Neuron, ids: list[int]) -> Sums | None:
        """Return the two divergences on each ablated sequence, None where there is none."""
        found = self._found.get((explanation_id, simulator, neuron), {})
        pairs = [found[sequence] for sequence in ids if sequence in found]
        return np.array(pairs) if pairs else None


def _why_not(basis: Basis) -> str:
    if (status := basis.explanation["status"]) != "ok":
        return f"explanation {status}"
    if basis.split != _SPLIT:
        return f"ablated on {_SPLIT} alone"
    return "not ablated, for want of readable simulations"
