"""The explainer `token_list`: the tokens themselves, as a baseline that others should beat."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import OCCURRENCES, Ranking, ranking, strongest_tokens
from neuroscribe.explain.explainer import NO_TOKEN, Before, Listing, Said
from neuroscribe.study.sections import Positive
from neuroscribe.text.listed_tokens import token_list
from neuroscribe.text.phrases import distinct, end_text


class TokenList(Listing):
    """A baseline without an LLM: the tokens that rank first by their means, each seen several times."""

    reads_table: ClassVar[bool] = True

    kind: Literal["token_list"] = "token_list"
    tokens: Positive = 10
    occurrences: Positive = OCCURRENCES
    by: Ranking = ranking("mean")
    apart: bool = Field(
        default=False,
        description="let a sentence encoder read the tokens one by one, and take the nearest of them",
    )

    def said(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Said | str:
        """Return the tokens that say most of the neuron on the explained side."""
        tokens = strongest_tokens(
            evidence, neuron, count=self.tokens, occurrences=self.occurrences, by=self.by
        )
        if not tokens:
            return NO_TOKEN
        return Said(token_list(tokens), each_apart(tokens) if self.apart else None)


def each_apart(tokens: Iterable[str]) -> tuple[str, ...] | None:
    """Return an explanation for each of some (escaped) tokens that is not blank; None for blanks alone."""
    return tuple(end_text(token) for token in distinct(token.strip(" ") for token in tokens)) or None
