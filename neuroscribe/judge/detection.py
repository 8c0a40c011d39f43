"""The scorer `detection`: does the excerpt contain what the explanation describes? (Paulo et al. 2024)."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from neuroscribe.evidence.exemplars import Exemplars
from neuroscribe.judge.excerpts import Excerpt, Negatives, plain_excerpts
from neuroscribe.judge.judges import SimilarityJudge
from neuroscribe.judge.judging import AskingJudge, Nearest
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.sections import EncoderSpec


class Detection(AskingJudge):
    """Does the excerpt contain what the explanation describes? (Paulo et al. 2024)."""

    kind: Literal["detection"] = "detection"
    same_token: bool = Field(
        default=True, description="also ask about excerpts with a peak's token on which the neuron is silent"
    )
    near_text: EncoderSpec | None = Field(
        default=None, description="encoder by which silent excerpts nearest to the firing ones are found"
    )

    @property
    def encoders(self) -> tuple[EncoderSpec, ...]:
        """The one that finds near texts."""
        return () if self.near_text is None else (self.near_text,)

    def near(self, encoders: EncoderSource, progress: Progress) -> SimilarityJudge | None:
        """Return similarity by that encoder."""
        if self.near_text is None:
            return None
        return SimilarityJudge(encoders.open(self.near_text, progress=progress))

    def excerpts(
        self, exemplars: Exemplars, tokens: Sequence[Sequence[int]], *, seed: str, nearest: Nearest | None
    ) -> list[Excerpt]:
        """Return firing excerpts and as many silent ones."""
        negatives = Negatives(self.same_token, nearest)
        return plain_excerpts(exemplars, tokens, length=self.excerpt_tokens, negatives=negatives, seed=seed)
