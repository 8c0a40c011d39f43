"""Which split each exemplar of a neuron is in: dealt out in strides, and each document in one split alone.

Strides are those of Bills et al. 2023, of four over the top sequences and of three over the random ones; the
paper's calibration and validation splits are both `valid` here. A sequence whose document is in a split
already goes into that one, so that a side may have fewer exemplars in a split than its stride gives.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

SPLITS = ("train", "valid", "test")
TRAIN = SPLITS.index("train")
TOP_SPLITS = ("train", "valid", "valid", "test")
RANDOM_SPLITS = ("valid", "valid", "test")

_Documents = Int[np.ndarray, "neuron slot"]
"""-1 where there is no sequence."""


@dataclass(frozen=True)
class DocumentSplits:
    """Documents of each neuron's exemplars, most important first, and the split that each would go into."""

    documents: _Documents
    strides: Int[np.ndarray, "neuron slot"]
    """Index in SPLITS."""

    @classmethod
    def dealt(cls, documents: _Documents, stride: tuple[str, ...]) -> "DocumentSplits":
        """Deal the exemplars that there are out to the splits of a stride, in turns."""
        codes = np.array([SPLITS.index(split) for split in stride])
        return cls(documents, codes[ranks(documents >= 0) % len(stride)])

    def then(self, later: "DocumentSplits") -> "DocumentSplits":
        """Return these, with others that give way to them."""
        return DocumentSplits(
            np.concatenate([self.documents, later.documents], axis=1),
            np.concatenate([self.strides, later.strides], axis=1),
        )

    def of(self, documents: Int[np.ndarray, "neuron other"]) -> Int[np.ndarray, "neuron other"]:
        """Return the split of each document, which is that of its first exemplar; -1 where it is in none."""
        same = documents[:, :, None] == self.documents[:, None, :]
        first = same.argmax(axis=2)
        found = np.take_along_axis(same, first[:, :, None], axis=2)[:, :, 0]
        return np.where(found, np.take_along_axis(self.strides, first, axis=1), -1)


def ranks(is_filled: Bool[np.ndarray, "neuron slot"]) -> Int[np.ndarray, "neuron slot"]:
    """Return how many filled slots are before each."""
    return np.cumsum(is_filled, axis=1) - 1
