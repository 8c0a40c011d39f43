"""The explainer `next_token`: what comes after the tokens on which a neuron fires (Bills et al. 2023)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import ShownExcerpts
from neuroscribe.explain.explainer import Showing
from neuroscribe.explain.pairs import Excerpts, pair_messages
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import unforged
from neuroscribe.text.marks import Pair


class NextToken(Showing):
    """Excerpts as activation and the token that follows, for neurons that say what comes next."""

    kind: Literal["next_token"] = "next_token"

    def shown_excerpts(self, evidence: LayerEvidence, neuron: Neuron, draw: int) -> ShownExcerpts:
        """Return each token but the first with the activation before it."""
        shown = super().shown_excerpts(evidence, neuron, draw)
        return ShownExcerpts(shown.sequence_ids, tuple(tuple(following(pairs)) for pairs in shown.excerpts))

    def messages(self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts) -> tuple[Message, ...]:
        """Return the prompt that shows activations with the tokens that follow, the strongest first."""
        return pair_messages(self.words, excerpts, self.answer, line=_activation_first, shown=following)


def following(pairs: Sequence[Pair]) -> list[Pair]:
    """Return each token but the first with the activation at the one before it."""
    return [(token, value) for (_, value), (token, _) in pairwise(pairs)]


def _activation_first(pair: Pair) -> str:
    return f"{pair[1]}\t{unforged(pair[0])}"
