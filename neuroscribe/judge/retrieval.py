"""The scorer `retrieval`: excerpts ranked by how similar a sentence encoder finds them to the explanation."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from neuroscribe.evidence.exemplars import Exemplars
from neuroscribe.judge.excerpts import Excerpt, Negatives, plain_excerpts
from neuroscribe.judge.judges import Judge, SimilarityJudge
from neuroscribe.judge.judging import Judging, Nearest
from neuroscribe.ports.sources import Models
from neuroscribe.study.sections import Capability, EncoderSpec


class Retrieval(EncoderSpec, Judging):
    """Ranks excerpts by the similarity of a sentence encoder's vectors to that of the explanation."""

    needs: ClassVar[Capability | None] = "encoder"
    measures: ClassVar[tuple[str, ...]] = ("auc",)

    kind: Literal["retrieval"] = "retrieval"
    same_token: bool = True

    def judge(self, models: Models, *, by_first_token: bool) -> Judge:
        """Return the encoder."""
        return SimilarityJudge(models.encoders.open(self, progress=models.progress))

    def excerpts(
        self, exemplars: Exemplars, tokens: Sequence[Sequence[int]], *, seed: str, nearest: Nearest | None
    ) -> list[Excerpt]:
        """Return firing excerpts and as many silent ones."""
        negatives = Negatives(self.same_token, nearest)
        return plain_excerpts(exemplars, tokens, length=self.excerpt_tokens, negatives=negatives, seed=seed)
