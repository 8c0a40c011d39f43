"""The explainers that a study can name, and their settings."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from neuroscribe.sections import Capability, Positive, Section


class Asking(Section):
    """An explainer that shows an LLM a neuron's excerpts."""

    needs: ClassVar[Capability] = "reply"

    excerpts: Positive = 5
    excerpt_tokens: Positive = Field(default=64, description="tokens shown around each peak")
    candidates: Positive = 1
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    max_tokens: Positive = 60


class TokenPairs(Asking):
    """The paper's explainer: excerpts as token and discretised activation."""

    kind: Literal["token_pairs"] = "token_pairs"


class Highlights(Asking):
    """Excerpts as running text with the strongly firing tokens marked: better for small models."""

    kind: Literal["highlights"] = "highlights"


class TokenList(Section):
    """A baseline without an LLM: the tokens with the highest mean activation."""

    needs: ClassVar[Capability | None] = None

    kind: Literal["token_list"] = "token_list"
    tokens: Positive = 10


ExplainerSpec = Annotated[TokenPairs | Highlights | TokenList, Field(discriminator="kind")]

EXPLAINER_KINDS: dict[str, type[BaseModel]] = {
    "token_pairs": TokenPairs,
    "highlights": Highlights,
    "token_list": TokenList,
}
