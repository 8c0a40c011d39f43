"""The simulators that a study can name, and their settings."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from neuroscribe.sections import Capability, FromList, Name, Section

LocalLayout = Literal["asked", "hidden"]


class AllAtOnce(Section):
    """The paper's simulator: one pass reads a digit distribution at every token."""

    needs: ClassVar[Capability] = "prompt_logprobs"

    kind: Literal["all_at_once"] = "all_at_once"
    layout: LocalLayout = Field(
        default="asked",
        description="what a model in this process is shown: asked (the text, then a question per token) or"
        " hidden (as in the paper; cheaper); a server is always shown hidden",
    )
    explainers: Annotated[tuple[Name, ...], FromList]


class Embedding(Section):
    """A cheap second opinion: similarity of the explanation to each token in context."""

    needs: ClassVar[Capability] = "encoder"

    kind: Literal["embedding"] = "embedding"
    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    revision: str | None = None
    artefact: str | None = None
    explainers: Annotated[tuple[Name, ...], FromList]

    @property
    def is_pinned(self) -> bool:
        """Whether the same weights are loaded every time."""
        return self.artefact is not None or self.revision is not None


SimulatorSpec = Annotated[AllAtOnce | Embedding, Field(discriminator="kind")]

SIMULATOR_KINDS: dict[str, type[BaseModel]] = {
    "all_at_once": AllAtOnce,
    "embedding": Embedding,
}
