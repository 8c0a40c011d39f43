"""Explanations held against a corpus that a sentence encoder has read: no call, no sampling error."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.encoded import PieceVectors
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.models import TextEncoder


class EncodedCorpus:
    """Fulfils the port `WholeCorpus` with the vectors of ENCODED_CORPUS, a product of matrices per text."""

    def __init__(self, encoder: TextEncoder, vectors: PieceVectors) -> None:
        self._encoder, self._vectors = encoder, vectors

    def readings(self, text: str) -> Float[np.ndarray, "sequence token"]:
        """Return 10 x the cosine of a text to each token in context, 0 where that is negative."""
        return self._vectors.readings(self._encoder.sentence(text))

    def nearness(self, text: str) -> Float[np.ndarray, " sequence"]:
        """Return how near the nearest token of each sequence comes to a text, 0 to 10."""
        return self.readings(text).max(axis=1)


def encoded_sequences(
    evidence: LayerEvidence, sequence_ids: Sequence[int], encoder: TextEncoder
) -> EncodedCorpus:
    """Return some sequences, in this order, as an encoder of the study sees them.

    Raises StoreError where ENCODED_CORPUS lacks one of them by this encoder.
    """
    table = evidence.tables["encoded_corpus"]
    return EncodedCorpus(encoder, PieceVectors(table, encoder.identity, sequence_ids))
