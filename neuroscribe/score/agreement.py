"""Scores from simulations: every measure of every simulator, with ceiling and control on the same tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.exemplars import Exemplars, all_time_maximum
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.simulations import Place, fitted
from neuroscribe.measures.agreement import contrasts, correlations, deviations_explained, variances_explained
from neuroscribe.measures.bootstrap import Estimate
from neuroscribe.measures.calibration import Calibrated, stretched
from neuroscribe.score.rows import Basis, batched, score_row
from neuroscribe.study.dues import REGIMES, Due
from neuroscribe.study.scoring import SIZES

Values = Float[np.ndarray, "sequence token"]
_SCORES = {"correlation": correlations, "r2": variances_explained, "deviation": deviations_explained}


@dataclass(frozen=True)
class _Pair:
    """What is compared for one score, and what is subtracted first in a contrast."""

    truth: Values
    predicted: Values
    control: Values | None = None


@dataclass(frozen=True)
class Case:
    """One explanation on the exemplars of one split and regime."""

    explanation: dict[str, Any]
    split: str
    regime: str
    truth: Values
    n_sequences: int
    reason: str | None
    """Why there is no simulation to score."""
    simulated: Values | None
    control: Values | None
    """The simulation under the control's explanation."""
    looked_up: Values | None
    calibrated: Calibrated | None
    """None without a fit; the control's simulation is held against the same map."""

    def explained(self, measure: str) -> _Pair | None:
        """Return what the explanation is scored on by a measure."""
        if measure != "contrast":
            return self._pair(measure, self.simulated)
        if self.simulated is None or self.control is None:
            return None
        return _Pair(self.truth, self.simulated, self.control)

    def contrasted(self, measure: str) -> _Pair | None:
        """Return what the control is scored on; a contrast has none, for it is one with the control."""
        return None if measure == "contrast" else self._pair(measure, self.control)

    def table(self, measure: str) -> _Pair | None:
        """Return what the token-lookup table, which is in activations already, is scored on."""
        return None if self.looked_up is None or measure == "contrast" else _Pair(self.truth, self.looked_up)

    def _pair(self, measure: str, simulated: Values | None) -> _Pair | None:
        if simulated is None:
            return None
        if measure not in SIZES:
            return _Pair(self.truth, simulated)
        return None if self.calibrated is None else _Pair(self.truth, self.calibrated(simulated))

    def why_not(self, measure: str) -> str:
        """Return why a measure is not defined here."""
        if self.reason is not None:
            return self.reason
        return "no control to contrast with" if measure == "contrast" else "no simulation on valid to fit"


class Agreement:
    """Scores one layer's simulations."""

    def __init__(self, evidence: LayerEvidence) -> None:
        self._evidence, self._scoring = evidence, evidence.study.scoring
        self._cases: dict[tuple[str, str], list[Case]] = {}

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of one scorer and explainer."""
        key = (due.source, due.explainer)
        if key not in self._cases:
            self._cases[key] = self._all_cases(*key)
        cases, measure = self._cases[key], due.measure
        samples = self._scoring.bootstrap_samples
        values = self._scored(measure, [case.explained(measure) for case in cases], samples)
        ceilings = self._scored(measure, [case.table(measure) for case in cases], 0)
        controls = self._scored(measure, [case.contrasted(measure) for case in cases], 0)
        return [
            score_row(
                due,
                Basis(case.explanation, case.split, case.regime, case.n_sequences, case.truth.size),
                value or Estimate.missing(case.why_not(measure)),
                ceiling=ceiling.value if ceiling else None,
                control=control,
            )
            for case, value, ceiling, control in zip(cases, values, ceilings, controls, strict=True)
        ]

    def _scored(self, measure: str, pairs: Sequence[_Pair | None], samples: int) -> list[Estimate | None]:
        seed = self._scoring.seed

        def score(together: Sequence[_Pair]) -> list[Estimate]:
            truth = np.stack([pair.truth for pair in together])
            predicted = np.stack([pair.predicted for pair in together])
            if measure != "contrast":
                return _SCORES[measure](truth, predicted, samples=samples, seed=seed)
            control = np.stack([pair.control for pair in together if pair.control is not None])
            return contrasts(truth, predicted, control, samples=samples, seed=seed)

        return batched(pairs, lambda pair: pair.truth.shape, score)

    def _all_cases(self, simulator: str, explainer: str) -> list[Case]:
        return [
            case
            for explanation in self._evidence.explanations(explainer)
            for split in self._evidence.study.scored_splits(explainer)
            for case in self._split_cases(explanation, simulator, split)
        ]

    def _split_cases(self, explanation: dict[str, Any], simulator: str, split: str) -> list[Case]:
        evidence, simulations = self._evidence, self._evidence.simulations
        neuron = (explanation["neuron"], explanation["polarity"])
        exemplars = evidence.exemplars(neuron, split)
        place = (explanation["explanation_id"], simulator, neuron)
        done = simulations.sequences(place)
        if self._scoring.stop_width is not None and done:
            exemplars = exemplars.only(done)
        control = simulations.control(explanation["explainer"], simulator, neuron)
        facts: dict[str, Any] = {
            "calibrated": self._calibrated(place),
            "simulated": simulations.values(place, exemplars.sequence_ids),
            "control": control and simulations.values(control, exemplars.sequence_ids),
            "looked_up": evidence.looked_up(neuron, exemplars.sequence_ids),
        }
        random = np.array([kind == "random" for kind in exemplars.kinds], dtype=bool)
        return [
            _case(explanation, split, regime, exemplars, facts, random | (regime == REGIMES[0]))
            for regime in REGIMES
        ]

    def _calibrated(self, place: Place) -> Calibrated | None:
        neuron, kind = place[2], self._scoring.calibration
        if kind == "none":
            return stretched(all_time_maximum(self._evidence.records(neuron)))
        return fitted(kind, self._evidence.exemplars(neuron, "valid"), self._evidence.simulations, place)


def _case(
    explanation: dict[str, Any],
    split: str,
    regime: str,
    exemplars: Exemplars,
    facts: dict[str, Any],
    keep: np.ndarray,
) -> Case:
    """Return the part of a split's values that belongs to a regime."""
    parts = {
        name: None if facts[name] is None else facts[name][keep]
        for name in ("simulated", "control", "looked_up")
    }
    truth = exemplars.truth[keep]
    reason = None
    if explanation["status"] != "ok":
        reason = f"explanation {explanation['status']}"
    elif not truth.size:
        reason = "no sequences to score on"
    elif parts["simulated"] is None:
        reason = "not simulated"
    if reason is not None:
        parts["simulated"] = None
    if not truth.size:
        parts["control"] = None
    calibrated = facts["calibrated"]
    return Case(explanation, split, regime, truth, int(keep.sum()), reason, calibrated=calibrated, **parts)
