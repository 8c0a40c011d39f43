"""The explainer `token_list`: the tokens themselves, as a baseline that others should beat."""

from typing import Literal

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import strongest_tokens
from neuroscribe.explain.explainer import Listing
from neuroscribe.study.sections import Positive


class TokenList(Listing):
    """A baseline without an LLM: the tokens with the highest mean activation."""

    kind: Literal["token_list"] = "token_list"
    tokens: Positive = 10

    def text(self, evidence: LayerEvidence, neuron: Neuron) -> str | None:
        """Return the tokens whose mean activation is largest on the explained side."""
        tokens = strongest_tokens(evidence, neuron, count=self.tokens)
        texts = dict.fromkeys(token.strip() or token for token in tokens)
        return "the tokens " + ", ".join(f'"{token}"' for token in texts) if texts else None
