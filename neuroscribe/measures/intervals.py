"""95 % intervals from how much each drawn sequence moves a value: sampling theory, and no resampling.

The variance of a smooth function of weighted sums is that of its linearised form, Σ w z with z the derivative
of the value by a sequence's weight (Woodruff 1971): stratum by stratum, with what a finite population leaves
unknown. Few draws a stratum make the variance itself uncertain: Student's t with Satterthwaite's (1946)
degrees of freedom. Each interval is drawn on a scale on which its spread depends least on the value.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from neuroscribe.measures.draws import Draws
from neuroscribe.measures.estimate import Estimate
from neuroscribe.measures.student import t_quantile

Influence = Float[np.ndarray, "neuron sequence"]
"""Derivative of each neuron's value by the weight of each sequence."""
PerNeuron = Float[np.ndarray, " neuron"]
Scale = Callable[[PerNeuron, PerNeuron, PerNeuron], tuple[PerNeuron, PerNeuron]]
"""From values, standard errors and reaches (in standard errors) to lower and upper bounds."""

UNSEEN = 0.3
"""What draws that are alike cannot show, rare sequences of another kind, as a half-width on Fisher's scale:
of a single sequence, less by the root of how many there are.

This and UNSEEN_SHARE were chosen on layers 0, 10 and 20 of the default study's subject so that intervals of
10 and of 20 draws hold the corpus's value in about 95 % of cases, and are tried on other layers by
`make bench PARTS=validity`.
"""
UNSEEN_SHARE = 1.0
"""The same of shares, as squared reach; 3.84 if each sequence were no more than one observation."""
_BEYOND = 0.99
"""Correlation at which Fisher's z ends, so that an interval at 1 has a width."""
_LEAST_PRODUCT = 0.01
"""Of a share and its rest: near 0 and 1 the product of the drawn ones says less than it is."""


def estimated(
    values: PerNeuron, influence: Influence, draws: Draws, reasons: Sequence[str | None], scale: Scale
) -> list[Estimate]:
    """Return each neuron's value and interval; where `reasons` has a text, that and no value.

    There is no interval where a neuron has one sequence in all, or one document where these count.
    """
    error, degrees = standard_errors(influence, draws)
    low, high = scale(values, error, t_quantile(np.maximum(degrees, 1.0), 0.975))
    # A bound on another scale may miss the value by a rounding.
    low, high = np.minimum(low, values), np.maximum(high, values)
    return [
        Estimate.missing(reason)
        if reason is not None
        else _estimate(*map(float, bounds), several=bool(several))
        for reason, several, *bounds in zip(reasons, degrees > 0, values, low, high, strict=True)
    ]


def _estimate(value: float, low: float, high: float, *, several: bool) -> Estimate:
    return Estimate(value, low, high, None) if several else Estimate(value, None, None, None)


def standard_errors(influence: Influence, draws: Draws) -> tuple[PerNeuron, PerNeuron]:
    """Return each neuron's standard error and its degrees of freedom, 0 with one sequence in all.

    A stratum with a single draw shares the spread of its neighbour, and that between both. Where documents
    were drawn, not sequences, their sums are what varies: what stands in one document is alike.
    """
    if draws.documents is not None:
        influence = _by_document(influence, draws.documents)
        draws = Draws.all_of(*influence.shape)
    drawn, group = draws.members.sum(2), _groups(draws.members.sum(2))
    unknown = _unknown(draws)
    variance, squares, most = np.zeros((3, len(influence)))
    for label in range(len(drawn)):
        inside = (draws.members & (group == label)[:, :, None]).any(0)
        count = inside.sum(1)
        spread = _spread(influence, inside)
        part = spread * (unknown * (group == label)).sum(0)
        variance += part
        squares += part**2 / np.maximum(count - 1, 1)
        most += np.maximum(count - 1, 0)
    degrees = np.divide(variance**2, squares, out=most.astype(np.float64), where=squares > 0)
    return np.sqrt(variance), np.where(most > 0, degrees, 0.0)


def _by_document(
    influence: Influence, documents: Int[np.ndarray, " sequence"]
) -> Float[np.ndarray, "neuron document"]:
    """Return the sums over the sequences of each document."""
    distinct, places = np.unique(documents, return_inverse=True)
    sums = np.zeros((len(influence), len(distinct)))
    np.add.at(sums.T, places, influence.T)
    return sums


def _unknown(draws: Draws) -> Float[np.ndarray, "stratum neuron"]:
    """Return by what the spread of a stratum's influences enters the variance: N² / n, less what is known."""
    each = draws.weights * (draws.weights - 1 if draws.finite else draws.weights)
    # Over the n draws of a stratum this adds up to n · (N / n)² · (1 - n / N).
    return (draws.members * each).sum(2)


def _spread(influence: Influence, inside: Bool[np.ndarray, "neuron sequence"]) -> PerNeuron:
    """Return the variance of the influences of some of a neuron's sequences, 0 of a single one."""
    count = inside.sum(1)
    mean = (influence * inside).sum(1) / np.maximum(count, 1)
    squares = ((influence - mean[:, None]) ** 2 * inside).sum(1)
    return squares / np.maximum(count - 1, 1)


def _groups(drawn: Int[np.ndarray, "stratum neuron"]) -> Int[np.ndarray, "stratum neuron"]:
    """Return with which stratum each shares its spread: itself, or a neighbour where it has one draw."""
    group = np.tile(np.arange(len(drawn))[:, None], (1, drawn.shape[1]))
    for place in range(1, len(drawn)):
        group[place] = np.where(drawn[place] <= 1, group[place - 1], place)
    # What is still alone lies before all others, and joins the next.
    together = np.zeros_like(drawn)
    for place in range(len(drawn)):
        together[place] = np.where(group == place, drawn, 0).sum(0)
    for place in range(len(drawn) - 2, -1, -1):
        alone = np.take_along_axis(together, group[place][None], axis=0)[0] <= 1
        group[place] = np.where(alone, group[place + 1], group[place])
    return group


def fisher(sequences: int) -> Scale:
    """Return bounds of correlations: equal steps of Fisher's z (1915), whose spread is the same for all r."""

    def bounds(values: PerNeuron, error: PerNeuron, reaches: PerNeuron) -> tuple[PerNeuron, PerNeuron]:
        centre = np.arctanh(values.clip(-_BEYOND, _BEYOND))
        steady = np.maximum(1 - values**2, 1 - _BEYOND**2)
        half = np.hypot(reaches * error / steady, UNSEEN / np.sqrt(max(sequences, 1)))
        return np.tanh(centre - half), np.tanh(centre + half)

    return bounds


def wilson(seen: PerNeuron) -> Scale:
    """Return bounds of shares: Wilson's (1927) for as many observations as have the standard error.

    It holds at 0 and at 1, where the error says 0 (Korn and Graubard 1998 count observations so). `seen` are
    the sequences that the shares rest on, as many equal ones (`equally_many`): of what else there is, so few
    say little.
    """

    def bounds(values: PerNeuron, error: PerNeuron, reaches: PerNeuron) -> tuple[PerNeuron, PerNeuron]:
        product = np.maximum(values * (1 - values), _LEAST_PRODUCT)
        # What comes of it is reach² over observations.
        doubt = (reaches * error) ** 2 / product + UNSEEN_SHARE / np.maximum(seen, 1)
        centre = (values + doubt / 2) / (1 + doubt)
        half = np.sqrt(doubt * values * (1 - values) + doubt**2 / 4) / (1 + doubt)
        return centre - half, centre + half

    return bounds


def equally_many(parts: Influence) -> PerNeuron:
    """Return how many equal parts would be as uneven a sum as these (Kish 1965), 0 where all are 0."""
    squares = (parts**2).sum(1)
    return np.divide(parts.sum(1) ** 2, squares, out=np.zeros(len(parts)), where=squares > 0)


def explained(sequences: int) -> Scale:
    """Return bounds of explained parts, at most 1; what is unseen is in proportion to what is left."""

    def bounds(values: PerNeuron, error: PerNeuron, reaches: PerNeuron) -> tuple[PerNeuron, PerNeuron]:
        left = 1 - np.minimum(values, _BEYOND)
        half = np.hypot(reaches * error, left * UNSEEN / np.sqrt(max(sequences, 1)))
        return values - half, np.minimum(values + half, 1.0)

    return bounds
