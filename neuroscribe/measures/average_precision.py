"""Average precision of many neurons at once, over weighted tokens, and how each token moves it.

With y whether the neuron fires at a token, w the token's weight and s the simulated value, TP(v) and N(v) the
weights of firing and of all tokens with s >= v, and π = TP / N the precision there, average precision is
Σ w y π(s) / Σ w y: the area under the steps of the precision-recall curve. Equal s are one threshold.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

Tokens = Float[np.ndarray, "neuron token"]


def average_precision(
    fires: Bool[np.ndarray, "neuron token"], simulated: Tokens, weights: Tokens
) -> tuple[Float[np.ndarray, " neuron"], Tokens]:
    """Return each neuron's average precision and its derivative by the weight of each token.

    Both are 0 where a neuron fires nowhere.
    """
    order = np.argsort(-simulated, axis=1, kind="stable")
    fired, score, weight = (np.take_along_axis(rows, order, 1) for rows in (fires, simulated, weights))
    first, last = _ties(score)
    hits = weight * fired
    total = np.where(fired.any(1), hits.sum(1), 1.0)
    above = np.take_along_axis(weight.cumsum(1), last, 1)
    precision = np.take_along_axis(hits.cumsum(1), last, 1) / np.where(above > 0, above, 1.0)
    value = (hits * precision).sum(1) / total
    # A token's weight moves the precision at its own value and at every lower one: Σ w y (y' - π) / N there.
    per_weight = hits / np.where(above > 0, above, 1.0)
    lower, lower_precision = (_from(first, part) for part in (per_weight, per_weight * precision))
    moved = fired * (precision + lower - value[:, None]) - lower_precision
    influence = np.empty_like(moved)
    np.put_along_axis(influence, order, moved / total[:, None], 1)
    return value, influence


def _ties(score: Tokens) -> tuple[Int[np.ndarray, "neuron token"], Int[np.ndarray, "neuron token"]]:
    """Return the first and the last place of the tokens with the same score, in sorted rows."""
    places: Int[np.ndarray, "1 token"] = np.arange(score.shape[1], dtype=np.int64)[None]
    changes = score[:, 1:] != score[:, :-1]
    edge = np.ones((len(score), min(1, score.shape[1])), dtype=bool)
    starts, ends = np.concatenate([edge, changes], 1), np.concatenate([changes, edge], 1)
    first = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, places, score.shape[1])[:, ::-1], axis=1)[:, ::-1]
    return first, last


def _from(place: Int[np.ndarray, "neuron token"], part: Tokens) -> Tokens:
    """Return, for each token, the sum of a part from a place to the end of its row."""
    return np.take_along_axis(part[:, ::-1].cumsum(1)[:, ::-1], place, 1)
