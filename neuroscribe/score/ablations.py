"""Scores from ablations: how much of what a mean ablation breaks the simulated activations put right.

1 - E[JSD(simulated)] / E[JSD(mean)] over the scored sequences (Bills et al. 2023, ablation scoring): 1 where
the subject predicts as before, 0 where the simulation is no better than the neuron's mean, below that worse.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.controls import held_controls
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.agreement import ratio_explained
from neuroscribe.measures.bootstrap import Estimate, estimates
from neuroscribe.score.rows import Basis, batched, score_row
from neuroscribe.study.dues import REGIMES, Due
from neuroscribe.tables.records import ABLATIONS

_SPLIT = "test"
"""The subject is run on what is reported alone."""

_ROUNDING = 1e-12
"""Nats a token that logits in fp32 differ by from rounding alone: their last bit (2e-6 of 30), squared."""

Sums = Float[np.ndarray, "_ 2"]
"""Divergences under the mean and under the simulation, by sequence."""


class Ablations:
    """Scores one layer's ablations."""

    def __init__(self, evidence: LayerEvidence) -> None:
        self._evidence = evidence
        ablations = evidence.tables.get("ablations", ABLATIONS.frame([]))
        self._controls = held_controls(evidence.tables["explanations"], ablations, "simulator")
        self._divergences: dict[tuple[str, str, Neuron], dict[int, tuple[float, float]]] = {}
        for row in ablations.iter_rows(named=True):
            place = (row["explanation_id"], row["simulator"], (row["neuron"], row["polarity"]))
            pair = (row["mean_divergence"], row["simulated_divergence"])
            self._divergences.setdefault(place, {})[row["sequence_id"]] = pair

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of the ablation score of one simulator and explainer."""
        study = self._evidence.study
        bases: list[Basis] = []
        sums: list[Sums | None] = []
        of_controls: list[Sums | None] = []
        for explanation in self._evidence.explanations(due.explainer):
            neuron = (explanation["neuron"], explanation["polarity"])
            control = self._controls.get((due.explainer, due.source, neuron))
            for split in study.scored_splits(due.explainer):
                for regime in REGIMES:
                    ids = self._sequences(neuron, split, regime)
                    sums.append(self._sums(explanation["explanation_id"], due.source, neuron, ids))
                    of_controls.append(self._sums(control, due.source, neuron, ids))
                    n = 0 if sums[-1] is None else len(sums[-1])
                    bases.append(Basis(explanation, split, regime, n, n * study.corpus.sequence_length))
        scores = self._scored(sums, study.scoring.bootstrap_samples)
        controls = self._scored(of_controls, 0)
        return [
            score_row(due, basis, score or Estimate.missing(_why_not(basis)), ceiling=None, control=control)
            for basis, score, control in zip(bases, scores, controls, strict=True)
        ]

    def _scored(self, sums: list[Sums | None], samples: int) -> list[Estimate | None]:
        def score(together: Any) -> list[Estimate]:
            stacked = np.stack(together)
            reasons = [
                None if pair[:, 0].mean() > _ROUNDING else "ablation to the mean changes nothing"
                for pair in stacked
            ]
            seed = self._evidence.study.scoring.seed
            return estimates(stacked, ratio_explained, reasons, samples=samples, seed=seed)

        return batched(sums, len, score)

    def _sequences(self, neuron: Neuron, split: str, regime: str) -> list[int]:
        exemplars = self._evidence.exemplars(neuron, split)
        pairs = zip(exemplars.sequence_ids, exemplars.kinds, strict=True)
        return [sequence for sequence, kind in pairs if regime == REGIMES[0] or kind == "random"]

    def _sums(
        self, explanation_id: str | None, simulator: str, neuron: Neuron, ids: list[int]
    ) -> Sums | None:
        """Return the two divergences on each ablated sequence, None where there is none."""
        if explanation_id is None:
            return None
        by_sequence = self._divergences.get((explanation_id, simulator, neuron), {})
        pairs = [by_sequence[sequence] for sequence in ids if sequence in by_sequence]
        return np.array(pairs) if pairs else None


def _why_not(basis: Basis) -> str:
    if (status := basis.explanation["status"]) != "ok":
        return f"explanation {status}"
    if basis.split != _SPLIT:
        return f"ablated on {_SPLIT} alone"
    return "not ablated, for want of readable simulations"
