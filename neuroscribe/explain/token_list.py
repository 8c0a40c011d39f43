"""The explainer `token_list`: the tokens themselves, as a baseline that others should beat."""

from typing import ClassVar, Literal

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import OCCURRENCES, strongest_tokens
from neuroscribe.explain.explainer import Listing
from neuroscribe.study.sections import Positive
from neuroscribe.text.listed_tokens import token_list


class TokenList(Listing):
    """A baseline without an LLM: the tokens with the highest mean activation, each seen several times."""

    reads_table: ClassVar[bool] = True

    kind: Literal["token_list"] = "token_list"
    tokens: Positive = 10
    occurrences: Positive = OCCURRENCES

    def text(self, evidence: LayerEvidence, neuron: Neuron) -> str | None:
        """Return the tokens whose mean activation is largest on the explained side."""
        tokens = strongest_tokens(evidence, neuron, count=self.tokens, occurrences=self.occurrences)
        return token_list(tokens) if tokens else None
