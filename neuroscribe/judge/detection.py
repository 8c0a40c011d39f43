"""The scorer `detection`: does the excerpt contain what the explanation describes? (Paulo et al. 2024)."""

from typing import Literal

from pydantic import Field

from neuroscribe.judge.judges import SimilarityJudge
from neuroscribe.judge.judging import AskingJudge, PlainExcerpts
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.sections import EncoderSpec


class Detection(AskingJudge, PlainExcerpts):
    """Does the excerpt contain what the explanation describes? (Paulo et al. 2024)."""

    kind: Literal["detection"] = "detection"
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
