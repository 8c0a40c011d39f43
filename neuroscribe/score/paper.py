"""The scores of Bills et al. 2023, for comparison: on top and random exemplars, weighted alike.

They are no estimate of the agreement over the corpus (docs/scores.md), and so have no interval.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from neuroscribe.evidence.exemplars import Exemplars
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.simulations import fitted
from neuroscribe.measures.calibration import Calibrated
from neuroscribe.measures.estimate import Estimate
from neuroscribe.score.compared import Beside, Compared, Scored, scored, unscored, why_not
from neuroscribe.score.corpus import held
from neuroscribe.study.dues import PAPER
from neuroscribe.study.scoring import SIZES


class PaperScores:
    """Scores the simulations of one layer as the paper does."""

    def __init__(self, evidence: LayerEvidence) -> None:
        self._evidence = evidence
        self._sizes = [measure for measure in SIZES if measure in evidence.study.scoring.measures]

    def of(self, explanation: Mapping[str, Any], simulator: str, split: str) -> dict[tuple[str, str], Scored]:
        """Return an explanation's scores by measure and regime."""
        shown = self._evidence.paper_exemplars(explanation, split)
        fit = self._fit(explanation, simulator) if self._sizes else None
        scores: dict[tuple[str, str], Scored] = {}
        for regime in PAPER:
            kinds = ("random",) if regime == PAPER[1] else ("top", "random")
            part = of_kinds(shown, kinds)
            scores["correlation", regime] = self._one(
                "correlation", explanation, simulator, split, part, None
            )
            for measure in self._sizes:
                scores[measure, regime] = self._one(measure, explanation, simulator, split, part, fit)
        return scores

    def _one(
        self,
        measure: str,
        explanation: Mapping[str, Any],
        simulator: str,
        split: str,
        shown: Exemplars,
        fit: Calibrated | None,
    ) -> Scored:
        neuron = (explanation["neuron"], explanation["polarity"])
        place = (explanation["explanation_id"], simulator, neuron)
        own = self._evidence.simulations.values(place, shown.sequence_ids)
        reason = why_not(explanation, len(shown.sequence_ids)) or (
            None if own is not None else "not simulated"
        )
        if reason is None and measure in SIZES and fit is None:
            reason = "no simulation on valid to fit"
        if reason is not None or own is None:
            return unscored(reason or "", n_sequences=len(shown.sequence_ids))
        beside = self._beside(explanation, simulator, shown) if split == "test" else Beside()
        compared = Compared(shown.truth, own, shown.draws, self._evidence.firing(neuron))
        if measure in SIZES and fit is not None:
            compared, beside = _calibrated(compared, fit), _all_calibrated(beside, fit)
        found = scored(measure, compared, beside)
        return replace(found, estimate=_without_interval(found.estimate))

    def _beside(self, explanation: Mapping[str, Any], simulator: str, shown: Exemplars) -> Beside:
        """Return the controls where they were read, and the ceiling on all exemplars shown."""
        neuron = (explanation["neuron"], explanation["polarity"])
        known = self._evidence.looked_up(neuron, shown.sequence_ids)
        firing, ceiling = self._evidence.firing(neuron), None
        if known is not None:
            ceiling = Compared(shown.truth, known, shown.draws, firing)
        tested = shown.only(self._evidence.control_exemplars(explanation).sequence_ids)
        return held(self._evidence, explanation, simulator, tested, tested.draws, ceiling=ceiling)

    def _fit(self, explanation: Mapping[str, Any], simulator: str) -> Calibrated | None:
        kind = self._evidence.study.scoring.calibration
        neuron = (explanation["neuron"], explanation["polarity"])
        place = (explanation["explanation_id"], simulator, neuron)
        valid = self._evidence.paper_exemplars(explanation, "valid")
        return None if kind == "none" else fitted(kind, valid, self._evidence.simulations, place)


def of_kinds(exemplars: Exemplars, kinds: tuple[str, ...]) -> Exemplars:
    """Return the exemplars of some kinds."""
    pairs = zip(exemplars.sequence_ids, exemplars.kinds, strict=True)
    return exemplars.only({sequence for sequence, kind in pairs if kind in kinds})


def _calibrated(compared: Compared, fit: Calibrated) -> Compared:
    return replace(compared, predicted=fit(compared.predicted))


def _all_calibrated(beside: Beside, fit: Calibrated) -> Beside:
    """Return what stands beside on the scale of activations; the ceiling is there already."""
    own = None if beside.own is None else _calibrated(beside.own, fit)
    return Beside([_calibrated(control, fit) for control in beside.controls], own, beside.ceiling)


def _without_interval(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, None, None, estimate.null_reason)
