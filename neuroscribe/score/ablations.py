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
from neuroscribe.measures.agreement import ratios_explained
from neuroscribe.measures.controls import chance
from neuroscribe.measures.draws import Draws
from neuroscribe.measures.estimate import Estimate
from neuroscribe.score.rows import Basis, Marks, score_row
from neuroscribe.simulate.questions import read
from neuroscribe.study.dues import PAPER, Due
from neuroscribe.tables.judged import ABLATIONS

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
        return [
            self._row(due, explanation, split, regime)
            for explanation in read(self._evidence, due.source, self._evidence.explanations(due.explainer))
            for split in study.scored_splits(due.explainer)
            for regime in PAPER
        ]

    def _row(self, due: Due, explanation: dict[str, Any], split: str, regime: str) -> dict[str, Any]:
        neuron = (explanation["neuron"], explanation["polarity"])
        shown = self._shown(explanation, split, regime)
        sums = self._sums(explanation["explanation_id"], due.source, neuron, list(shown))
        others = [
            self._sums(control, due.source, neuron, list(shown))
            for control in self._controls.get((due.explainer, due.source, neuron), [])[:1]
        ]
        n = 0 if sums is None else len(sums)
        basis = Basis(explanation, split, regime, n, n * self._evidence.study.corpus.sequence_length)
        own = Estimate.missing(_why_not(basis)) if sums is None else _scored(sums)
        held = [_scored(other).value for other in others if other is not None]
        control = held[0] if held else None
        return score_row(due, basis, own, Marks(None, control, len(held), chance(own.value, held)))

    def _shown(self, explanation: dict[str, Any], split: str, regime: str) -> tuple[int, ...]:
        exemplars = self._evidence.paper_exemplars(explanation, split)
        pairs = zip(exemplars.sequence_ids, exemplars.kinds, strict=True)
        return tuple(sequence for sequence, kind in pairs if regime == PAPER[0] or kind == "random")

    def _sums(
        self, explanation_id: str | None, simulator: str, neuron: Neuron, ids: list[int]
    ) -> Sums | None:
        """Return the two divergences on each ablated sequence, None where there is none."""
        if explanation_id is None:
            return None
        by_sequence = self._divergences.get((explanation_id, simulator, neuron), {})
        pairs = [by_sequence[sequence] for sequence in ids if sequence in by_sequence]
        return np.array(pairs) if pairs else None


def _scored(sums: Sums) -> Estimate:
    if not sums[:, 0].mean() > _ROUNDING:
        return Estimate.missing("ablation to the mean changes nothing")
    (found,) = ratios_explained(sums[None], Draws.all_of(1, len(sums)))
    return found


def _why_not(basis: Basis) -> str:
    if (status := basis.explanation["status"]) != "ok":
        return f"explanation {status}"
    if basis.split != _SPLIT:
        return f"ablated on {_SPLIT} alone"
    return "not ablated, for want of readable simulations"
