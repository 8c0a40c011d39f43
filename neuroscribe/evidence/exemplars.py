"""Reads a neuron's exemplars out of the table of neuron records."""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from neuroscribe.measures.draws import Draws


def explained_side(
    activations: Float[np.ndarray, "..."], polarity: int, polarities: tuple[int, ...]
) -> Float[np.ndarray, "..."]:
    """Return polarity x activation; where both signs are studied, the other sign counts as silence (0).

    A gated neuron's two signs are explained apart, so each explanation answers for its own side. A plain
    (GELU or ReLU) neuron has one side and keeps its small negative values, as in Bills et al. 2023.
    """
    side = activations * polarity
    return side.clip(min=0) if len(polarities) > 1 else side


Neuron = tuple[int, int]
"""A neuron and the polarity that is explained."""


@dataclass(frozen=True)
class Exemplars:
    """A neuron's exemplars of one split: top ones first, then random ones, each by rank."""

    sequence_ids: tuple[int, ...]
    kinds: tuple[str, ...]
    truth: Float[np.ndarray, "sequence token"]
    """Activation on the explained side."""

    @property
    def draws(self) -> Draws:
        """Equal weights, each kind being a stratum of its own."""
        return Draws.alike(np.array([[kind == "random" for kind in self.kinds]], dtype=np.int64))

    def only(self, sequence_ids: Container[int]) -> "Exemplars":
        """Return those of some sequences, in the same order."""
        keep = [place for place, sequence in enumerate(self.sequence_ids) if sequence in sequence_ids]
        return Exemplars(
            tuple(self.sequence_ids[place] for place in keep),
            tuple(self.kinds[place] for place in keep),
            self.truth[keep],
        )


@dataclass(frozen=True)
class Kept:
    """What a neuron does on all sequences that were kept of it, ascending by id; none for one unsampled."""

    sequence_ids: Int[np.ndarray, " sequence"]
    values: Float[np.ndarray, "sequence token"]
    """Activation on the explained side."""


def by_neuron(records: pl.DataFrame) -> dict[Neuron, pl.DataFrame]:
    """Return the rows of each neuron and polarity."""
    parts = records.partition_by("neuron", "polarity", as_dict=True)
    return {(int(key[0]), int(key[1])): rows for key, rows in parts.items()}


def scored_exemplars(
    rows: pl.DataFrame, split: str, *, per_kind: int, polarities: tuple[int, ...]
) -> Exemplars:
    """Return the exemplars by which a neuron is scored on a split: `per_kind` top and as many random ones.

    `rows` are one neuron's and polarity's, as from `by_neuron`.
    """
    parts = [
        rows.filter((pl.col("split") == split) & (pl.col("kind") == kind)).sort("rank")[:per_kind]
        for kind in ("top", "random")
    ]
    chosen = pl.concat(parts)
    if not len(chosen):
        return Exemplars((), (), np.zeros((0, 0)))
    polarity = int(chosen["polarity"][0])
    activations = np.array(chosen["activations"].to_list(), dtype=np.float64)
    return Exemplars(
        tuple(chosen["sequence_id"].to_list()),
        tuple(chosen["kind"].to_list()),
        explained_side(activations, polarity, polarities),
    )


DRAWS = 3
"""Draws of exemplars from which a neuron can be explained; no two share a sequence."""


def training_exemplars(rows: pl.DataFrame, count: int, draw: int = 0) -> pl.DataFrame:
    """Return the first `count` top exemplars that an explainer is shown of a neuron, largest peak first.

    Draw 0 is the training split; draws 1 and 2 take turns in `valid`, which has twice as many.
    """
    split = "valid" if draw else "train"
    top = rows.filter((pl.col("kind") == "top") & (pl.col("split") == split)).sort("rank")
    return (top.gather_every(DRAWS - 1, offset=draw - 1) if draw else top)[:count]


def banded_exemplars(rows: pl.DataFrame, count: int, draw: int = 0) -> pl.DataFrame:
    """Return `count` exemplars from the quantile bands, one of each in turn, the highest band first.

    Those in which the neuron does not fire are left out. They are all of the training split; a further draw
    has the next ones, and shares none with another.
    """
    polarity = pl.col("polarity")
    fires = (pl.col("kind") == "quantile") & (pl.col("peak") * polarity > 0)
    upper = pl.max_horizontal(pl.col("quantile_low") * polarity, pl.col("quantile_high") * polarity)
    banded = rows.filter(fires).with_columns(bound=upper)
    turn = pl.col("rank").rank("ordinal").over("bound")
    dealt = banded.sort(turn, "bound", "rank", descending=[False, True, False])
    return dealt[draw * count : (draw + 1) * count].drop("bound")


def all_time_maximum(rows: pl.DataFrame) -> float:
    """Return a neuron's largest activation over the corpus on the explained side (polarity x peak)."""
    top = rows.filter(pl.col("kind") == "top")
    return float((top["peak"] * top["polarity"]).to_numpy().max(initial=0.0))
