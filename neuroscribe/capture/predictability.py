"""How well tokens alone predict each neuron of a layer, from the exemplars that the capture keeps of all.

A first look, to find neurons that a person would recognise: a token's mean is learned on the exemplars of
`train` and `valid`, and held against the truth on those of `test`, of other documents. It is no score: top
exemplars and random ones count alike, and the tokens of one neuron's exemplars are few.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from neuroscribe.evidence.exemplars import explained_side
from neuroscribe.tables.predictability import PREDICTABILITY

_TOGETHER = 64
"""Neurons whose means are in memory together: with 50,000 different tokens 50 MB."""
_TINY = 1e-12
"""Variance, relative to the mean square, below which values count as constant: rounding, not signal."""


def predictability(
    records: pl.DataFrame, sequences: pl.DataFrame, layer: int, polarities: tuple[int, ...]
) -> pl.DataFrame:
    """Return one row per neuron and polarity with exemplars; `records` are the layer's NEURON_RECORDS.

    A token that was not learned is predicted by the mean over the random exemplars learned from, which stand
    for ordinary text, or over all of them where there is none.
    """
    tokens = _numbered(sequences)
    parts = [
        _rows(rows, tokens, layer, polarity, polarities)
        for polarity in polarities
        for rows in _together(records.filter(polarity=polarity).sort("neuron", maintain_order=True))
    ]
    table = pl.concat([PREDICTABILITY.frame([]), *parts])
    return table.sort("neuron", "polarity", descending=[False, True])


def _numbered(sequences: pl.DataFrame) -> Int[np.ndarray, "sequence token"]:
    """Return which of the corpus's different tokens stands where, by sequence id."""
    ids = np.array(sequences.sort("sequence_id")["token_ids"].to_list())
    return np.unique(ids, return_inverse=True)[1].reshape(ids.shape)


def _together(records: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the rows, sorted by neuron, of some neurons at a time."""
    starts = np.flatnonzero(np.diff(records["neuron"].to_numpy(), prepend=-1))
    for place in range(0, len(starts), _TOGETHER):
        stop = starts[place + _TOGETHER] if place + _TOGETHER < len(starts) else len(records)
        yield records[int(starts[place]) : int(stop)]


def _rows(
    records: pl.DataFrame,
    tokens: Int[np.ndarray, "sequence token"],
    layer: int,
    polarity: int,
    polarities: tuple[int, ...],
) -> pl.DataFrame:
    """Return the rows of the neurons in `records`, of one polarity and sorted by neuron."""
    neurons, of = np.unique(records["neuron"].to_numpy(), return_inverse=True)
    raw = records["activations"].explode().to_numpy().astype(np.float64).reshape(len(records), -1)
    values, own = explained_side(raw, polarity, polarities), tokens[records["sequence_id"].to_numpy()]
    is_test, is_random = ((records[name] == kind).to_numpy() for name, kind in _KINDS)
    predicted = _predictions(values, own, of, ~is_test, is_random & ~is_test)
    found = _correlations(values[is_test], predicted[is_test], of[is_test], len(neurons))
    counts = np.bincount(of[is_test], minlength=len(neurons))
    columns = {"layer": layer, "neuron": neurons, "polarity": polarity, "predicted": found, "n": counts}
    table = pl.DataFrame(columns).with_columns(pl.col("predicted").fill_nan(None))
    return table.cast(PREDICTABILITY.schema)  # pyright: ignore[reportArgumentType]


_KINDS = (("split", "test"), ("kind", "random"))


def _predictions(
    values: Float[np.ndarray, "row token"],
    tokens: Int[np.ndarray, "row token"],
    of: Int[np.ndarray, " row"],
    learned: Bool[np.ndarray, " row"],
    ordinary: Bool[np.ndarray, " row"],
) -> Float[np.ndarray, "row token"]:
    """Return each token's mean over the `learned` rows of the same neuron; others by its usual value."""
    kinds = int(tokens.max(initial=0)) + 1
    key, size = of[:, None] * kinds + tokens, (int(of.max(initial=0)) + 1) * kinds
    count = np.bincount(key[learned].ravel(), minlength=size)[key]
    total = np.bincount(key[learned].ravel(), values[learned].ravel(), size)[key]
    usual = _means(values[ordinary], of[ordinary], size // kinds)
    usual = np.where(np.isnan(usual), _means(values[learned], of[learned], size // kinds), usual)
    unlearned = np.broadcast_to(usual[of][:, None], total.shape).copy()
    return np.divide(total, count, out=unlearned, where=count > 0)


def _means(
    values: Float[np.ndarray, "row token"], of: Int[np.ndarray, " row"], neurons: int
) -> Float[np.ndarray, " neuron"]:
    """Return the mean over the rows of each neuron, NaN for one without any."""
    count = np.bincount(of, minlength=neurons) * values.shape[1]
    total = np.bincount(of, values.sum(axis=1), neurons)
    return np.divide(total, count, out=np.full(neurons, np.nan), where=count > 0)


def _correlations(
    truth: Float[np.ndarray, "row token"],
    predicted: Float[np.ndarray, "row token"],
    of: Int[np.ndarray, " row"],
    neurons: int,
) -> Float[np.ndarray, " neuron"]:
    """Return Pearson's correlation over the tokens of each neuron's rows; NaN where one side is constant."""
    x, y = (each - _means(each, of, neurons)[of][:, None] for each in (truth, predicted))
    xx, yy, xy = (_means(each, of, neurons) for each in (x * x, y * y, x * y))
    sizes = [_means(each * each, of, neurons) for each in (truth, predicted)]
    varies = (xx > _TINY * sizes[0]) & (yy > _TINY * sizes[1])
    found = np.divide(xy, np.sqrt(xx * yy), out=np.full(neurons, np.nan), where=varies)
    return found.clip(-1, 1)
