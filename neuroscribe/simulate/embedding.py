"""The simulator `embedding`: how similar each token in context is to the explanation, without an LLM."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float

from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.replies import Simulated, Usage
from neuroscribe.ports.sources import Models
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.study.sections import Capability, EncoderSpec
from neuroscribe.text.spans import text_and_spans


class Embedding(EncoderSpec, Simulating):
    """A cheap second opinion: similarity of the explanation to each token in context."""

    needs: ClassVar[Capability | None] = "encoder"

    kind: Literal["embedding"] = "embedding"

    def simulator(self, models: Models) -> "EmbeddingSimulator":
        """Return it with the encoder opened."""
        return EmbeddingSimulator(models.encoders.open(self, progress=models.progress))

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
        self.identity = f"{encoder.identity}; cosine of explanation and token in context"

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the similarity at every token of every sequence; there is no distribution to weigh."""
        target = self._encoder.sentence(explanation)
        return [
            Simulated(tuple(self._similarities(target, tokens).tolist()), None, usage=Usage(cost_usd=0.0))
            for tokens in sequences
        ]

    def _similarities(
        self, target: Float[np.ndarray, " feature"], tokens: Sequence[bytes]
    ) -> Float[np.ndarray, " token"]:
        text, spans = text_and_spans(tokens)
        pieces, vectors = self._encoder.pieces(text)
        cosines = (vectors @ target).clip(0, 1) if len(pieces) else np.zeros(0)
        similar = np.zeros(len(tokens))
        for place, (start, stop) in enumerate(spans):
            touching = [
                cosine for (a, b), cosine in zip(pieces, cosines, strict=True) if a < stop and b > start
            ]
            similar[place] = 10 * max(touching, default=0.0)
        return similar
