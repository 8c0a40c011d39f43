"""The simulator `embedding`: how similar each token in context is to the explanation, without an LLM."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from neuroscribe.evidence.encoded import strongest, text_vector
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.replies import Simulated, Usage
from neuroscribe.ports.sources import EncoderSource, Models
from neuroscribe.ports.stores import Progress
from neuroscribe.simulate.encoded import EncodedCorpus, encoded_sequences
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.study.sections import Capability, EncoderSpec
from neuroscribe.text.spans import text_and_spans, touching

_REMEMBERED = 64
"""Sequences whose vectors are kept, some 100 kB each: a call reads the same ones under several texts."""
_TEXTS = 4096
"""Texts whose vectors are kept: those of an explanation recur with every neuron that it is held against."""
_FirstAndLast = tuple[Int[np.ndarray, " token"], Int[np.ndarray, " token"]]
_Pieces = tuple[Float[np.ndarray, "piece feature"], _FirstAndLast]


class Embedding(EncoderSpec, Simulating):
    """A cheap second opinion: similarity of the explanation to each token in context."""

    needs: ClassVar[Capability | None] = "encoder"
    costs_nothing: ClassVar[bool] = True
    tells_firing: ClassVar[bool] = False  # cosines hardly reach a half, however right a text

    kind: Literal["embedding"] = "embedding"

    def simulator(self, models: Models) -> "EmbeddingSimulator":
        """Return it with the encoder opened."""
        return EmbeddingSimulator(models.encoders.open(self, progress=models.progress))

    def whole_corpus(
        self, evidence: LayerEvidence, encoders: EncoderSource, progress: Progress
    ) -> EncodedCorpus:
        """Return what reads sequences by their vectors, which were made once for all explanations."""
        encoder = encoders.open(self, progress=progress)
        return encoded_sequences(evidence, evidence.kept_ids, encoder)

    def calls(self, tokens: int) -> int:
        """Return none: no LLM is asked."""
        return 0


class EmbeddingSimulator:
    """Fulfils the `Simulator` port: cosine similarity, clipped at 0 and stretched to 0..10."""

    keeps_calls = False
    sequences_per_call = 16
    """A call is cheap, and worth storing only in numbers."""
    calls_at_once = 1
    """Calls are computed here, one after the other."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._read = lru_cache(_REMEMBERED)(self._pieces)
        self._target = lru_cache(_TEXTS)(
            partial(text_vector, pieces=encoder.pieces, sentence=encoder.sentence)
        )
        self.identity = f"{encoder.identity}; cosine of explanation and token in context"

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the similarity at every token of every sequence; there is no distribution to weigh."""
        target = self._target(explanation)
        return [
            Simulated(tuple(self._similarities(target, tokens).tolist()), None, usage=Usage(cost_usd=0.0))
            for tokens in sequences
        ]

    def _similarities(
        self, target: Float[np.ndarray, " feature"], tokens: Sequence[bytes]
    ) -> Float[np.ndarray, " token"]:
        vectors, (first, last) = self._read(tuple(tokens))
        cosines = vectors @ target if len(vectors) else np.zeros(0)
        return strongest(cosines, first, last)

    def _pieces(self, tokens: tuple[bytes, ...]) -> _Pieces:
        """Return the vectors of a sequence's pieces, and the first and last piece of each token."""
        text, spans = text_and_spans(tokens)
        pieces, vectors = self._encoder.pieces(text)
        return vectors, touching(pieces, spans)
