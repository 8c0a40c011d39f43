"""From probabilities of digits to a simulated activation."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from neuroscribe.simulate.prompts import DIGITS, LARGEST


def expected_activations(
    probabilities: Float[np.ndarray, "token digit"],
) -> tuple[Float[np.ndarray, " token"], float]:
    """Return the expected activation of each token on the 0..10 scale, and the mean mass on digits.

    The expectation is taken over the digits alone (Bills et al. 2023); a token without any mass on a digit
    gets NaN, which the caller must not score.
    """
    mass = probabilities.sum(axis=1)
    weights = probabilities @ np.arange(LARGEST + 1)
    values = np.divide(weights, mass, out=np.full(len(mass), np.nan), where=mass > 0)
    return values * (10 / LARGEST), float(mass.mean())


def digit_probabilities(top_logprobs: Mapping[str, float]) -> Float[np.ndarray, " digit"]:
    """Return the probability of each digit among a place's likeliest tokens; absent digits have none."""
    return np.array([math.exp(top_logprobs[digit]) if digit in top_logprobs else 0.0 for digit in DIGITS])
