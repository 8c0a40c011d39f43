"""Simulated activations beside true ones by every measure, and what other texts and the tokens alone give."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from neuroscribe.measures.agreement import (
    SAYS_FIRES,
    auprcs,
    correlations,
    cosines,
    deviations_explained,
    f1s,
    ious,
    variances_explained,
)
from neuroscribe.measures.controls import chance
from neuroscribe.measures.draws import Draws
from neuroscribe.measures.estimate import Estimate
from neuroscribe.score.rows import Marks

Values = Float[np.ndarray, "sequence token"]


@dataclass(frozen=True)
class Compared:
    """A neuron on some sequences, and a row of predictions of it to be held against the truth."""

    truth: Values
    predicted: Values
    """On the scale of simulations, 0 to 10; for r2 and deviation as activations."""
    draws: Draws
    """Of one neuron."""
    firing: float
    """Activation from which on the neuron fires."""
    n_unreadable: int = 0
    """Sequences without a value at some of their tokens; left out, unless too little would be left."""


def in_simulated_units(activations: Values, firing: float) -> Values:
    """Return activations on a scale on which those that fire are those that a simulation calls so."""
    return activations * (SAYS_FIRES / firing) if firing > 0 else activations


def estimate(measure: str, compared: Compared) -> Estimate:
    """Return one measure of one comparison, with its interval."""
    (found,) = _MEASURES[measure](compared.truth[None], compared.predicted[None], compared)
    return found


@dataclass(frozen=True)
class Beside:
    """What an explanation is held against: other neurons' explanations, and the tokens alone."""

    controls: Sequence[Compared] = ()
    own: Compared | None = None
    """The explanation itself where the controls were read, if that is not where its score is from."""
    ceiling: Compared | None = None
    ranked: Draws | None = None
    """Draws by which they are ranked, if not by their own: weights that serve an estimate cost a comparison
    power, for a few heavy sequences decide it."""


@dataclass(frozen=True)
class Scored:
    """One score of one explanation."""

    estimate: Estimate
    marks: Marks
    n_sequences: int
    n_tokens: int
    n_unreadable: int = 0


def scored(measure: str, compared: Compared, beside: Beside) -> Scored:
    """Return one measure of an explanation, with what stands beside it."""
    found = estimate(measure, compared)
    others = [estimate(measure, control).value for control in beside.controls]
    known = [other for other in others if other is not None]
    marks = Marks(
        ceiling=None if beside.ceiling is None else estimate(measure, beside.ceiling).value,
        control=float(np.mean(known)) if known else None,
        n_controls=len(others),
        p=None if found.value is None else _chance(measure, beside, found.value, others),
    )
    sequences, tokens = compared.truth.shape
    return Scored(found, marks, sequences, sequences * tokens, compared.n_unreadable)


def _chance(measure: str, beside: Beside, value: float, others: Sequence[float | None]) -> float | None:
    """Return how likely a control does as well, held where the controls were read."""
    if beside.own is None or beside.ranked is None:
        return chance(value if beside.own is None else estimate(measure, beside.own).value, others)
    own, *ranked = (
        estimate(measure, replace(each, draws=beside.ranked)).value for each in (beside.own, *beside.controls)
    )
    return chance(own, ranked)


def unscored(reason: str, *, n_sequences: int = 0) -> Scored:
    """Return no score, with the reason."""
    return Scored(Estimate.missing(reason), Marks(), n_sequences, 0)


def why_not(explanation: Mapping[str, Any], n_sequences: int) -> str | None:
    """Return why an explanation cannot be scored at all, or None."""
    if explanation["status"] != "ok":
        return f"explanation {explanation['status']}"
    return None if n_sequences else "no sequences to score on"


_Batch = Float[np.ndarray, "neuron sequence token"]
_MEASURES: dict[str, Callable[[_Batch, _Batch, Compared], list[Estimate]]] = {
    "correlation": lambda truth, predicted, given: correlations(truth, predicted, given.draws),
    "cosine": lambda truth, predicted, given: cosines(truth, predicted, given.draws),
    "f1": lambda truth, predicted, given: f1s(truth >= given.firing, predicted, given.draws),
    "iou": lambda truth, predicted, given: ious(truth >= given.firing, predicted, given.draws),
    "auprc": lambda truth, predicted, given: auprcs(truth >= given.firing, predicted, given.draws),
    "r2": lambda truth, predicted, given: variances_explained(truth, predicted, given.draws),
    "deviation": lambda truth, predicted, given: deviations_explained(truth, predicted, given.draws),
}
