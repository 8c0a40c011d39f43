"""The explainer `token_pairs`: every token with its activation, as in Bills et al. 2023."""

from typing import Literal

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Showing
from neuroscribe.explain.pairs import Excerpts, pair_messages
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import unforged
from neuroscribe.text.marks import Pair


class TokenPairs(Showing):
    """The paper's explainer: excerpts as token and discretised activation."""

    kind: Literal["token_pairs"] = "token_pairs"

    def messages(self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts) -> tuple[Message, ...]:
        """Return the prompt that shows tokens with their activations, the strongest excerpt first."""
        return pair_messages(self.words, excerpts, self.answer, line=_token_first)


def _token_first(pair: Pair) -> str:
    return f"{unforged(pair[0])}\t{pair[1]}"
