"""The scorer `retrieval`: excerpts ranked by how similar a sentence encoder finds them to the explanation."""

from typing import ClassVar, Literal

from neuroscribe.judge.judges import Judge, SimilarityJudge
from neuroscribe.judge.judging import PlainExcerpts
from neuroscribe.ports.sources import Models
from neuroscribe.study.sections import Capability, EncoderSpec


class Retrieval(EncoderSpec, PlainExcerpts):
    """Ranks excerpts by the similarity of a sentence encoder's vectors to that of the explanation."""

    needs: ClassVar[Capability | None] = "encoder"
    measures: ClassVar[tuple[str, ...]] = ("auc",)

    kind: Literal["retrieval"] = "retrieval"

    def judge(self, models: Models, *, by_first_token: bool) -> Judge:
        """Return the encoder."""
        return SimilarityJudge(models.encoders.open(self, progress=models.progress))
