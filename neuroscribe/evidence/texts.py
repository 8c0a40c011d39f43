"""The explanations of a layer as rows, and the texts of one that are read one by one.

Of these the largest value counts at each token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.evidence.exemplars import Neuron


def by_explainer(explanations: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of EXPLANATIONS by explainer, by neuron, polarity, candidate and draw."""
    rows: dict[str, list[dict[str, Any]]] = {}
    ordered = explanations.sort("neuron", "polarity", "sample_index", "draw", maintain_order=True)
    for row in ordered.iter_rows(named=True):
        rows.setdefault(row["explainer"], []).append(row)
    return rows


def explained_sides(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Neuron]:
    """Return the neurons of which there are rows, each with its polarity, in their order."""
    return sorted({(row["neuron"], row["polarity"]) for each in rows.values() for row in each})


def read_texts(explanation: Mapping[str, Any], *, apart: bool = True) -> tuple[str, ...]:
    """Return the parts of a row of EXPLANATIONS with a text, or that text where it has none.

    Which simulator reads parts is for `simulate.questions.texts_for` to say.
    """
    parts = explanation["parts"] if apart else None
    return tuple(parts or (explanation["text"],))
