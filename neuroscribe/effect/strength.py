"""How strongly neurons are held: so far that predictions move as far as the study asks."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from neuroscribe.effect.amplifier import Amplifier, Held, Openings, Predictions, divergence
from neuroscribe.study.amplifying import AmplifyingSpec

TRIED_ON = 4
"""Openings on which strengths are tried."""
_LEAST = 1e-9
"""Divergences below are rounding."""


def multiples(most: float) -> list[float]:
    """Return the multiples of a largest activation that are tried: powers of 2 below `most`, and that."""
    powers = [2.0**power for power in range(11) if 2.0**power < most]
    return [*powers, most]


def strengths(
    amplifier: Amplifier,
    openings: Openings,
    plain: Predictions,
    largest: Sequence[Held],
    spec: AmplifyingSpec,
) -> list[Held]:
    """Return each neuron with the activation at which it is to be held; `largest` has their largest ones."""
    tried = multiples(spec.most)
    held = [Held(side.neuron, side.activation * multiple) for side in largest for multiple in tried]
    few, known = openings[:TRIED_ON], plain[:TRIED_ON]
    found = [divergence(known, other) for other in amplifier.predictions(few, held)]
    by_side = np.array(found).reshape(len(largest), len(tried))
    return [
        Held(side.neuron, side.activation * reaching(spec.divergence, tried, row))
        for side, row in zip(largest, by_side, strict=True)
    ]


def reaching(wanted: float, tried: Sequence[float], found: Float[np.ndarray, " multiple"]) -> float:
    """Return the multiple at which a divergence is reached: the first, between two that were tried.

    Between them both are taken to grow by powers. The least or the largest multiple where it is passed
    at once or never reached.
    """
    risen: Float[np.ndarray, " multiple"] = np.maximum.accumulate(np.maximum(found, _LEAST))
    return float(np.exp(np.interp(math.log(wanted), np.log(risen), np.log(np.array(tried)))))
