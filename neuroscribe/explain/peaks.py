"""Where a neuron fires in the exemplars that it is explained from, and the phrases that end there."""

import numpy as np
import polars as pl

from neuroscribe.evidence.exemplars import Neuron, banded_exemplars, training_exemplars
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.text.phrases import phrase_at


def shown_exemplars(records: pl.DataFrame, *, excerpts: int, bands: int) -> pl.DataFrame:
    """Return the first top exemplars of `train`, then up to `bands` of the quantile bands.

    `records` are one neuron's and polarity's rows of NEURON_RECORDS. What the top ones show is what a neuron
    does at its strongest; the bands show what it mostly does.
    """
    return pl.concat([training_exemplars(records, excerpts), banded_exemplars(records, bands)])


def peak_phrases(
    evidence: LayerEvidence,
    neuron: Neuron,
    exemplars: pl.DataFrame,
    *,
    before: int,
    places: int = 1,
    share: float = 1.0,
) -> list[list[str]]:
    """Return, by exemplar, the phrases that end where the neuron is strongest, in this order.

    Of an exemplar up to `places` tokens count, those with at least `share` of its peak; a token in the middle
    of a word stands for the whole word. Blank tokens, and exemplars in which the neuron is silent, give none.
    """
    found: list[list[str]] = []
    for row in exemplars.iter_rows(named=True):
        values = np.array(row["activations"], dtype=np.float64) * neuron[1]
        strongest = np.argsort(-values, kind="stable")[:places].tolist()
        fires = [place for place in strongest if values[place] > 0 and values[place] >= share * values.max()]
        tokens = evidence.tokens[row["sequence_id"]]
        found.append([phrase for place in fires if (phrase := phrase_at(tokens, place, before))])
    return found
