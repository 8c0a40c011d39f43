"""The explainer `token_summary`: what the tokens that raise a neuron most have in common.

The token-lookup explanations of Bills et al. 2023, put into words by an LLM: with a few tokens by weight the
form that the packaged model of 1.5B parameters reads best (docs/decisions/0024).
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import OCCURRENCES, Ranking, ranking, strongest_tokens
from neuroscribe.explain.explainer import NO_TOKEN, Asking, Before, Shown
from neuroscribe.explain.wording import Wording, filled
from neuroscribe.study.sections import Positive
from neuroscribe.text.escaping import quoted


class TokenSummary(Asking):
    """An LLM's words for the tokens that rank first, as in the paper's token lookup."""

    reads_table: ClassVar[bool] = True

    kind: Literal["token_summary"] = "token_summary"
    tokens: Positive = Field(default=12, description="tokens shown, spread evenly over the ranks")
    among: Positive = Field(default=12, description="how far down the ranks they reach")
    occurrences: Positive = OCCURRENCES
    by: Ranking = ranking("weight")

    @model_validator(mode="after")
    def enough_ranks(self) -> "TokenSummary":
        """No more tokens can be shown than there are ranks."""
        if self.tokens > self.among:
            raise ValueError(f"tokens = {self.tokens} exceeds among = {self.among}; lower the first")
        return self

    def shown(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Shown:
        """Return the (escaped) tokens alone."""
        ranked = strongest_tokens(
            evidence, neuron, count=self.among, occurrences=self.occurrences, by=self.by
        )
        if not ranked:
            return Shown(reason=NO_TOKEN)
        worked = [_question(self.words, example.shown["tokens"]) for example in self.words.examples]
        question = _question(self.words, spread(ranked, self.tokens))
        return Shown((), self.words.messages(worked, question, self.answer))


def spread(ranked: Sequence[str], count: int) -> list[str]:
    """Return `count` tokens at even distances among the ranks, the first included; all if there are fewer."""
    if len(ranked) <= count:
        return list(ranked)
    return [ranked[place * len(ranked) // count] for place in range(count)]


def _question(wording: Wording, tokens: Sequence[str]) -> str:
    return filled(wording.question, tokens=", ".join(dict.fromkeys(quoted(token) for token in tokens)))
