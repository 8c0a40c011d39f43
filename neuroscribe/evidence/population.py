"""The sequences for which an explanation's score stands: those of which its explainer saw nothing.

Whole documents are left out, not single sequences: what stands beside a passage resembles it. An explainer
that shows exemplars has seen the documents of these; one that shows a token table, all documents that the
table was learned from, and is scored on the quarter that was held out.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from neuroscribe.evidence.drawn import Drawn, drawn, strata
from neuroscribe.evidence.exemplars import Exemplars


@dataclass(frozen=True)
class Corpus:
    """The corpus as arrays, ascending by sequence id."""

    sequence_ids: Int[np.ndarray, " sequence"]
    tokens: Int[np.ndarray, "sequence token"]
    documents: Int[np.ndarray, " sequence"]

    @classmethod
    def of(cls, sequences: pl.DataFrame) -> "Corpus":
        """Return the rows of SEQUENCES."""
        ordered = sequences.sort("sequence_id")
        return cls(
            ordered["sequence_id"].to_numpy().astype(np.int64),
            np.array(ordered["token_ids"].to_list()),
            ordered["document_id"].to_numpy().astype(np.int64),
        )


@dataclass(frozen=True)
class Population:
    """The sequences over which an explanation is scored, and what its neuron does there."""

    sequence_ids: Int[np.ndarray, " sequence"]
    truth: Float[np.ndarray, "sequence token"]
    """Activation on the explained side."""
    ceiling: Float[np.ndarray, "sequence token"]
    """What other documents' means of the same tokens predict."""
    order: Int[np.ndarray, " sequence"]
    """A random permutation of the neuron's own, by which sequences are drawn."""
    shared_order: Int[np.ndarray, " sequence"]
    """One of the layer's, by which sequences are drawn that shall recur among neurons."""
    top: int
    """Sequences that make up the top stratum."""

    @property
    def peaks(self) -> Float[np.ndarray, " sequence"]:
        """The largest activation in each sequence."""
        return self.truth.max(axis=1) if self.truth.size else np.zeros(len(self.truth))

    def of(self, keep: Bool[np.ndarray, " sequence"]) -> "Population":
        """Return the population without some of its sequences."""
        parts = (self.sequence_ids, self.truth, self.ceiling, self.order, self.shared_order)
        return Population(*(part[keep] for part in parts), top=self.top)

    def places(self, sequence_ids: tuple[int, ...]) -> list[int]:
        """Return where some sequences stand in the population, of those that do."""
        place = {int(sequence): place for place, sequence in enumerate(self.sequence_ids)}
        return [place[sequence] for sequence in sequence_ids if sequence in place]

    def draws(
        self, count: int, *, first: tuple[int, ...], nearness: Float[np.ndarray, " sequence"] | None
    ) -> Drawn:
        """Return the sequences from which the score is estimated; of the top the ids in `first` go first."""
        return drawn(
            self.peaks, self.order, count=count, top=self.top, nearness=nearness, first=self.places(first)
        )

    def top_and_random(self, per_kind: int) -> Exemplars:
        """Return some of the top sequences, at even distances, and as many random ones of the others.

        Of a population whose share of the top list is less than `per_kind`, that many count as top.
        """
        of = strata(self.peaks, top=max(self.top, per_kind))
        tops = np.flatnonzero(of == 0)
        ranked = tops[np.lexsort((self.order[tops], -self.peaks[tops]))]
        count = min(per_kind, len(ranked))
        spread = ((np.arange(count) + 0.5) * len(ranked) / max(count, 1)).astype(np.int64)
        others = np.flatnonzero(of != 0)
        random = others[np.argsort(self.shared_order[others], kind="stable")][:per_kind]
        places = np.concatenate([ranked[spread], random])
        kinds = ("top",) * count + ("random",) * len(random)
        ids: list[int] = self.sequence_ids[places].tolist()
        return Exemplars(tuple(ids), kinds, self.truth[places])


def in_half(
    documents: Int[np.ndarray, " sequence"], *, second: bool, seed: tuple[int, ...]
) -> Bool[np.ndarray, " sequence"]:
    """Tell which sequences' documents a seeded coin gives to the first, or the second, half."""
    coins = np.random.default_rng(seed).random(int(documents.max(initial=0)) + 1) < 0.5
    return coins[documents] == second
