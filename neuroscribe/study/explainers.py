"""The explainers that a study can name, and their settings."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from neuroscribe.study.sections import Capability, Positive, Section

AnswerForm = Literal["line", "schema"]

_TOKENS_OF_ANSWER: dict[AnswerForm, int] = {"line": 60, "schema": 800}


class Asking(Section):
    """An explainer that asks an LLM."""

    needs: ClassVar[Capability] = "reply"

    answer: AnswerForm = Field(
        default="line", description="`line`: one phrase; `schema`: JSON with a short and a long text"
    )
    candidates: Positive = 1
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    max_tokens: Positive | None = Field(
        default=None, description="limit of an answer; unless given, 60 for a line and 800 for a schema"
    )

    @model_validator(mode="after")
    def candidates_differ(self) -> "Asking":
        """Several candidates need a temperature."""
        if self.candidates > 1 and self.temperature == 0:
            raise ValueError(
                f"candidates = {self.candidates} at temperature = 0 are all the same; raise temperature, or"
                " ask for one"
            )
        return self

    @property
    def answer_tokens(self) -> int:
        """Tokens that an answer may take."""
        return self.max_tokens or _TOKENS_OF_ANSWER[self.answer]

    def calls(self, neurons: int) -> int:
        """Return how many calls so many neurons take."""
        return self.candidates * neurons


class Showing(Asking):
    """An explainer that shows an LLM a neuron's excerpts."""

    excerpts: Positive = 5
    excerpt_tokens: Annotated[int, Field(ge=4)] = Field(
        default=64, description="tokens shown around each peak"
    )


class TokenPairs(Showing):
    """The paper's explainer: excerpts as token and discretised activation."""

    kind: Literal["token_pairs"] = "token_pairs"


class NextToken(Showing):
    """Excerpts as activation and the token that follows, for neurons that say what comes next."""

    kind: Literal["next_token"] = "next_token"


class Highlights(Showing):
    """Excerpts as running text with the strongly firing tokens marked: better for small models."""

    kind: Literal["highlights"] = "highlights"
    excerpt_tokens: Annotated[int, Field(ge=4)] = 16


class LogitLens(Showing):
    """Marked excerpts and the tokens that the neuron promotes by its output weights."""

    kind: Literal["logit_lens"] = "logit_lens"
    excerpt_tokens: Annotated[int, Field(ge=4)] = 16
    promoted: Annotated[int, Field(ge=1, le=10)] = Field(
        default=10, description="promoted tokens shown, of those in the table `connections`"
    )


class TokenSummary(Asking):
    """An LLM's words for the tokens with the highest mean activation, as in the paper's token lookup."""

    kind: Literal["token_summary"] = "token_summary"
    tokens: Positive = Field(default=50, description="tokens shown, spread evenly over the ranks")
    among: Positive = Field(default=100, description="how far down the ranks they reach")
    occurrences: Positive = Field(
        default=2, description="held-out occurrences below which a token's mean is left out"
    )

    @model_validator(mode="after")
    def enough_ranks(self) -> "TokenSummary":
        """No more tokens can be shown than there are ranks."""
        if self.tokens > self.among:
            raise ValueError(f"tokens = {self.tokens} exceeds among = {self.among}; lower the first")
        return self


class TokenList(Section):
    """A baseline without an LLM: the tokens with the highest mean activation."""

    needs: ClassVar[Capability | None] = None

    kind: Literal["token_list"] = "token_list"
    tokens: Positive = 10

    def calls(self, neurons: int) -> int:
        """Return none: no LLM is asked."""
        del neurons
        return 0


AskingSpec = TokenPairs | NextToken | Highlights | LogitLens | TokenSummary
ExplainerSpec = Annotated[AskingSpec | TokenList, Field(discriminator="kind")]

EXPLAINER_KINDS: dict[str, type[BaseModel]] = {
    "token_pairs": TokenPairs,
    "next_token": NextToken,
    "highlights": Highlights,
    "logit_lens": LogitLens,
    "token_summary": TokenSummary,
    "token_list": TokenList,
}
