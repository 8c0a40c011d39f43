"""Which sequences a score rests on, and how many of the population each of them stands for."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Draws:
    """The draws of many neurons: sequences drawn from strata of known sizes, alike within each.

    A sequence's weight is the size of its stratum over the draws of it, so that weighted sums estimate sums
    over the whole population (Horvitz and Thompson 1952).
    """

    stratum: Int[np.ndarray, "neuron sequence"]
    """Labels in an order in which neighbours are most alike."""
    size: Float[np.ndarray, "neuron sequence"]
    """Sequences of the population in the drawn one's stratum."""
    finite: bool = True
    """Whether the population ends with these strata; else they are themselves a sample of endless text."""
    documents: Int[np.ndarray, " sequence"] | None = None
    """Of sequences that were all read: those of one document are one observation of endless text."""

    @classmethod
    def alike(cls, kinds: Int[np.ndarray, "neuron sequence"]) -> "Draws":
        """Return equal weights for sequences of some kinds, a sample of endless text of each kind."""
        return cls(kinds, _counts(kinds).astype(np.float64), finite=False)

    @classmethod
    def all_of(
        cls, neurons: int, sequences: int, documents: Int[np.ndarray, " sequence"] | None = None
    ) -> "Draws":
        """Return every sequence of a population once, taken as a sample of further text of its kind.

        Each is an observation by itself, unless their documents are given.
        """
        alike = cls.alike(np.zeros((neurons, sequences), dtype=np.int64))
        return replace(alike, documents=documents)

    @cached_property
    def drawn(self) -> Int[np.ndarray, "neuron sequence"]:
        """How many sequences were drawn of each one's stratum."""
        return _counts(self.stratum)

    @cached_property
    def weights(self) -> Float[np.ndarray, "neuron sequence"]:
        """How many sequences of the population each drawn one stands for."""
        return self.size / self.drawn

    @cached_property
    def members(self) -> Bool[np.ndarray, "stratum neuron sequence"]:
        """Which sequences are in each stratum, strata in ascending order of their labels."""
        return _members(self.stratum)

    def of(self, neurons: Int[np.ndarray, " chosen"] | Bool[np.ndarray, " neuron"]) -> "Draws":
        """Return the draws of some neurons."""
        return Draws(self.stratum[neurons], self.size[neurons], self.finite, self.documents)


def _members(stratum: Int[np.ndarray, "neuron sequence"]) -> Bool[np.ndarray, "stratum neuron sequence"]:
    return stratum[None] == np.unique(stratum)[:, None, None]


def _counts(stratum: Int[np.ndarray, "neuron sequence"]) -> Int[np.ndarray, "neuron sequence"]:
    members = _members(stratum)
    return (members.sum(2)[:, :, None] * members).sum(0)
