"""The simulator `token_match`: a list of tokens taken literally, without a model.

It gives the explainers `token_list` and `token_detector` the score that their lists deserve, where another
simulator adds its own errors.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.replies import Simulated, Usage
from neuroscribe.ports.sources import EncoderSource, Models
from neuroscribe.ports.stores import Progress
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.text.corpus import TokenBytes
from neuroscribe.text.listed_tokens import listed_as, listed_tokens


class TokenMatch(Simulating):
    """A list of tokens taken literally: 10 on each, or its strength; for such as token_list."""

    costs_nothing: ClassVar[bool] = True
    reads_parts: ClassVar[bool] = False  # a list is one text, with a value for each of its tokens

    kind: Literal["token_match"] = "token_match"

    def simulator(self, models: Models) -> "TokenMatchSimulator":
        """Return it; no model is opened."""
        return TokenMatchSimulator()

    def whole_corpus(
        self, evidence: LayerEvidence, encoders: EncoderSource, progress: Progress
    ) -> "MatchedCorpus":
        """Return what looks the tokens of all kept sequences up."""
        return MatchedCorpus(evidence.tokens, evidence.kept_ids)

    def calls(self, tokens: int) -> int:
        """Return none: no LLM is asked."""
        return 0


class TokenMatchSimulator:
    """Fulfils the `Simulator` port; an explanation that is no list of tokens has no values."""

    keeps_calls = False
    sequences_per_call = 16
    calls_at_once = 1
    identity = "none; listed tokens taken literally"

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return 10, or its strength, at each listed token of every sequence and 0 at the others."""
        usage, listed = Usage(cost_usd=0.0), listed_tokens(explanation)
        if listed is None:
            return [Simulated((math.nan,) * len(tokens), None, "unparsable", usage) for tokens in sequences]
        return [
            Simulated(tuple(float(listed.get(listed_as(token), 0)) for token in tokens), None, usage=usage)
            for tokens in sequences
        ]


class MatchedCorpus:
    """Fulfils the port `WholeCorpus`: each different token is held against a list once."""

    def __init__(self, tokens: TokenBytes, sequence_ids: Sequence[int]) -> None:
        ids = [tokens.ids[sequence] for sequence in sequence_ids]
        distinct, places = np.unique(np.array(ids, dtype=np.int64), return_inverse=True)
        self._names = [listed_as(tokens.of_token[int(token)]) for token in distinct]
        shape = (len(ids), len(ids[0]) if ids else 0)
        self._places: Int[np.ndarray, "sequence token"] = places.reshape(shape)

    def readings(self, *texts: str) -> Float[np.ndarray, "sequence token"]:
        """Return 10, or its strength, at each listed token, and 0 at the others; NaN for what is no list."""
        return np.maximum.reduce([self._of(text) for text in texts])

    def _of(self, text: str) -> Float[np.ndarray, "sequence token"]:
        listed = listed_tokens(text)
        if listed is None:
            return np.full(self._places.shape, np.nan)
        strengths = np.array([listed.get(name, 0) for name in self._names], dtype=np.float64)
        return strengths[self._places]
