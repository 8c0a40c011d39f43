"""From probabilities of digits to simulated activations."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from neuroscribe.llm.logprobs import readable_logprobs
from neuroscribe.ports.replies import ReadingStatus, Simulated
from neuroscribe.simulate.prompts import DIGITS, LARGEST

GRAVEST: tuple[ReadingStatus, ...] = ("failed", "refused", "truncated", "unparsable", "ok")
"""A failure comes first: asking again may help."""
_SPACES = " \t\u2581\u0120"  # two vocabularies' signs for a space among them


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


def expected_reading(
    probabilities: Float[np.ndarray, "token digit"], statuses: Sequence[ReadingStatus]
) -> Simulated:
    """Return a reading of places, each with what became of its answer.

    A place that was not answered, or has no mass on a digit (`unparsable`), has no value; the others keep
    theirs. The reading's status is the first in `GRAVEST` that any place has. The mass is the mean over the
    places that were answered.
    """
    answered = np.array([status == "ok" for status in statuses], dtype=bool)
    values, _ = expected_activations(np.where(answered[:, None], probabilities, 0.0))
    outcomes: set[ReadingStatus] = {
        "unparsable" if status == "ok" and math.isnan(value) else status
        for status, value in zip(statuses, values.tolist(), strict=True)
    }
    mass = float(probabilities[answered].sum(axis=1).mean()) if answered.any() else None
    return Simulated(tuple(values.tolist()), mass, min(outcomes, key=GRAVEST.index))


def without_values(length: int, status: ReadingStatus) -> Simulated:
    """Return a reading of so many tokens that has no values, and why."""
    return Simulated((math.nan,) * length, None, status)


def digit_probabilities(top_logprobs: Mapping[str, object]) -> Float[np.ndarray, " digit"]:
    """Return the probability of each digit among a place's likeliest tokens; absent digits have none."""
    read = readable_logprobs(top_logprobs)
    return np.array([math.exp(read[digit]) if digit in read else 0.0 for digit in DIGITS])


def answer_probabilities(top_logprobs: Mapping[str, object]) -> Float[np.ndarray, " digit"]:
    """Return the probability of each digit as an answer's first token, with or without a space before it."""
    shares = np.zeros(len(DIGITS))
    for token, logprob in readable_logprobs(top_logprobs).items():
        if (digit := token.strip(_SPACES)) in DIGITS:
            shares[int(digit)] += math.exp(logprob)
    return shares
