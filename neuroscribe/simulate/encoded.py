"""Explanations held against a corpus that a sentence encoder has read: no call, no sampling error."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.encoded import PieceVectors, text_vector
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.models import TextEncoder

_HELD = 1 << 28
"""Bytes of readings that are kept: an explanation is read again with every neuron that it is held against."""


class EncodedCorpus:
    """Fulfils the port `WholeCorpus` with the vectors of ENCODED_CORPUS, a product of matrices per text."""

    def __init__(self, encoder: TextEncoder, vectors: PieceVectors) -> None:
        self._encoder, self._vectors = encoder, vectors
        self._readings: dict[tuple[str, ...], Float[np.ndarray, "sequence token"]] = {}
        self._sentences: dict[str, Float[np.ndarray, " feature"]] = {}

    def readings(self, *texts: str) -> Float[np.ndarray, "sequence token"]:
        """Return 10 x the largest cosine of a text to each token in context, 0 where all are negative."""
        if texts not in self._readings:
            found = self._vectors.readings(*map(self._sentence, texts))
            while len(self._readings) >= max(1, _HELD // max(1, found.nbytes)):
                del self._readings[next(iter(self._readings))]
            self._readings[texts] = found
        return self._readings[texts]

    def nearness(self, *texts: str) -> Float[np.ndarray, " sequence"]:
        """Return how near the nearest token of each sequence comes to one of some texts, 0 to 10."""
        return self.readings(*texts).max(axis=1)

    def _sentence(self, text: str) -> Float[np.ndarray, " feature"]:
        """Return a text's vector; made once, since it is read again as a control of other neurons."""
        if text not in self._sentences:
            self._sentences[text] = text_vector(text, self._encoder.pieces, self._encoder.sentence)
        return self._sentences[text]


def encoded_sequences(
    evidence: LayerEvidence, sequence_ids: Sequence[int], encoder: TextEncoder
) -> EncodedCorpus:
    """Return some sequences, in this order, as an encoder of the study sees them.

    Raises StoreError where ENCODED_CORPUS lacks one of them by this encoder.
    """
    table = evidence.tables["encoded_corpus"]
    return EncodedCorpus(encoder, PieceVectors(table, encoder.identity, sequence_ids))
