"""The explainer `token_list`: the tokens themselves, as a baseline that others should beat."""

from typing import ClassVar, Literal

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import OCCURRENCES, strongest_tokens
from neuroscribe.explain.explainer import NO_TOKEN, Before, Listing, Said
from neuroscribe.study.sections import Positive
from neuroscribe.text.listed_tokens import token_list


class TokenList(Listing):
    """A baseline without an LLM: the tokens with the highest mean activation, each seen several times."""

    reads_table: ClassVar[bool] = True

    kind: Literal["token_list"] = "token_list"
    tokens: Positive = 10
    occurrences: Positive = OCCURRENCES

    def said(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Said | str:
        """Return the tokens whose mean activation is largest on the explained side."""
        tokens = strongest_tokens(evidence, neuron, count=self.tokens, occurrences=self.occurrences)
        return Said(token_list(tokens)) if tokens else NO_TOKEN
