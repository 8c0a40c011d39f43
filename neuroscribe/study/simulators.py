"""The simulators that a study can name, and their settings."""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from neuroscribe.study.sections import Capability, EncoderSpec, FromList, Name, Section

LocalLayout = Literal["asked", "hidden"]


class Simulating(Section):
    """What every simulator says: what it needs, the prompts it may use, and whose explanations it reads."""

    needs: ClassVar[Capability]
    prompts: ClassVar[tuple[str, ...]]
    """Layouts whose wording its results depend on; none for a simulator that asks no language model."""

    explainers: Annotated[tuple[Name, ...], FromList]

    @abstractmethod
    def calls(self, sequences: int, tokens: int) -> int:
        """Return how many LLM calls read so many sequences, of so many tokens each, under one explanation."""


class AllAtOnce(Simulating):
    """The paper's simulator: one pass reads a digit distribution at every token."""

    needs: ClassVar[Capability] = "prompt_logprobs"
    prompts: ClassVar[tuple[str, ...]] = ("hidden", "asked")

    kind: Literal["all_at_once"] = "all_at_once"
    layout: LocalLayout = Field(
        default="asked",
        description="what a model in this process is shown: asked (the text, then a question per token) or"
        " hidden (as in the paper); a server is always shown hidden",
    )

    def calls(self, sequences: int, tokens: int) -> int:
        """Return one a sequence."""
        del tokens
        return sequences


class OneAtATime(Simulating):
    """The paper's other simulator: each token is asked about by itself, at the end of the text before it."""

    needs: ClassVar[Capability] = "next_token"
    prompts: ClassVar[tuple[str, ...]] = ("one_at_a_time",)

    kind: Literal["one_at_a_time"] = "one_at_a_time"

    def calls(self, sequences: int, tokens: int) -> int:
        """Return one a token."""
        return sequences * tokens


class MatchingWords(Simulating):
    """The model copies the words that fit: without log-probabilities, and best with small models."""

    needs: ClassVar[Capability] = "reply"
    prompts: ClassVar[tuple[str, ...]] = ("matching_words",)

    kind: Literal["matching_words"] = "matching_words"

    def calls(self, sequences: int, tokens: int) -> int:
        """Return one a sequence."""
        del tokens
        return sequences


class Structured(Simulating):
    """The model returns every token with its activation as JSON: without log-probabilities."""

    needs: ClassVar[Capability] = "reply"
    prompts: ClassVar[tuple[str, ...]] = ("structured",)

    kind: Literal["structured"] = "structured"

    def calls(self, sequences: int, tokens: int) -> int:
        """Return one a sequence."""
        del tokens
        return sequences


class Embedding(EncoderSpec, Simulating):
    """A cheap second opinion: similarity of the explanation to each token in context."""

    needs: ClassVar[Capability] = "encoder"
    prompts: ClassVar[tuple[str, ...]] = ()

    kind: Literal["embedding"] = "embedding"

    def calls(self, sequences: int, tokens: int) -> int:
        """Return none: no LLM is asked."""
        del sequences, tokens
        return 0


SimulatorSpec = Annotated[
    AllAtOnce | OneAtATime | MatchingWords | Structured | Embedding, Field(discriminator="kind")
]

SIMULATOR_KINDS: dict[str, type[BaseModel]] = {
    "all_at_once": AllAtOnce,
    "one_at_a_time": OneAtATime,
    "matching_words": MatchingWords,
    "structured": Structured,
    "embedding": Embedding,
}
