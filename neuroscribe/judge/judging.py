"""What a judging scorer is: settings, the excerpts that it asks about, and who judges them."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from neuroscribe.errors import CapabilityError
from neuroscribe.evidence.exemplars import Exemplars
from neuroscribe.judge.excerpts import Excerpt, Nearest, Negatives, plain_excerpts
from neuroscribe.judge.judges import MAX_TOKENS, AskedJudge, Judge, SimilarityJudge
from neuroscribe.judge.prompts import judging_messages, prompt_identity, together_messages
from neuroscribe.judge.together import AskedTogether, Shown, answer_tokens
from neuroscribe.ports.samples import Sample, sample_of
from neuroscribe.ports.sources import EncoderSource, Models
from neuroscribe.ports.stores import Progress
from neuroscribe.study.kinds import JudgeSpec
from neuroscribe.study.sections import MOST, Capability

MOST_PER_CALL = 50
"""Excerpts that a prompt may show: with more, models lose count."""


class Judging(JudgeSpec):
    """The settings of a scorer that judges. A kind is a module of its own."""

    excerpt_tokens: Annotated[int, Field(ge=4, le=MOST)] = Field(
        default=32, description="tokens of an excerpt"
    )

    @abstractmethod
    def judge(self, models: Models, *, by_first_token: bool) -> Judge | AskedTogether:
        """Return who judges; `by_first_token` says whether the LLM tells how likely its first token is."""

    @abstractmethod
    def excerpts(
        self, exemplars: Exemplars, tokens: Sequence[Sequence[int]], *, seed: str, nearest: Nearest | None
    ) -> list[Excerpt]:
        """Return the excerpts of a split's exemplars, whose token ids are given, to ask about."""

    def near(self, encoders: EncoderSource, progress: Progress) -> SimilarityJudge | None:
        """Return what finds silent excerpts that are near the firing ones, if such are wanted."""
        return None


class PlainExcerpts(Judging):
    """A scorer that shows excerpts as they are, firing ones and silent ones."""

    same_token: bool = Field(
        default=True, description="also ask about excerpts with a peak's token on which the neuron is silent"
    )

    def excerpts(
        self, exemplars: Exemplars, tokens: Sequence[Sequence[int]], *, seed: str, nearest: Nearest | None
    ) -> list[Excerpt]:
        """Return firing excerpts and as many silent ones."""
        negatives = Negatives(self.same_token, nearest)
        return plain_excerpts(exemplars, tokens, length=self.excerpt_tokens, negatives=negatives, seed=seed)


class AskingJudge(Judging):
    """A scorer that asks an LLM, by the layout of its kind's name in `prompts.toml`."""

    needs: ClassVar[Capability | None] = "reply"

    per_call: Annotated[int, Field(ge=1, le=MOST_PER_CALL)] = Field(
        default=1,
        description="excerpts of one explanation that a call shows at most; several take fewer tokens each,"
        " and give no probabilities and so no AUC",
    )

    @property
    def layout(self) -> str:
        """The table of `prompts.toml` by which it asks."""
        return self.kind_name if self.per_call == 1 else f"{self.kind_name}_together"

    @property
    def wording(self) -> Mapping[str, str]:
        """The wording of that layout."""
        return {self.layout: prompt_identity(self.layout)}

    def samples(self, tokens: int) -> list[Sample]:
        """Return a question in the form of its own."""
        shown: Shown = ([b" rain"], ())
        if self.per_call > 1:
            messages = together_messages(self.layout, "rain", [shown] * self.per_call)
            return [sample_of(messages, max_tokens=answer_tokens(self.per_call))]
        return [sample_of(judging_messages(self.layout, "rain", *shown), max_tokens=MAX_TOKENS)]

    def judge(self, models: Models, *, by_first_token: bool) -> Judge | AskedTogether:
        """Return the LLM, asked by this layout; raises CapabilityError without one."""
        if models.llm is None:
            raise CapabilityError(f"the scorer {self.kind_name} asks an LLM, and none was given")
        if self.per_call > 1:
            return AskedTogether(models.llm, self.layout, models.calls)
        return AskedJudge(models.llm, self.layout, models.calls, by_first_token=by_first_token)
