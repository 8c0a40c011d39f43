"""The explainer `promotes`: the tokens that a neuron makes likelier and less likely, as they are.

By running the subject with the neuron amplified (TokenChange of Gur-Arieh et al. 2025), and by its output
weights alone where the study asks for these. They are told apart, for on the default study's subject the
first say what the subject writes with the neuron amplified, and the weights hardly do
(docs/decisions/0028-the-output-half.md).
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from neuroscribe.errors import CapabilityError
from neuroscribe.evidence.effects import Change
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import promoted_tokens, spelled
from neuroscribe.explain.explainer import Before, Listing, Said
from neuroscribe.study.kinds import Half
from neuroscribe.text.escaping import quoted, unforged

NOTHING_CHANGES = "no token becomes likelier or less likely"
_Count = Annotated[int, Field(ge=0, le=1000)]


class Promotes(Listing):
    """Without an LLM: the tokens that the neuron promotes and suppresses when it is amplified."""

    half: ClassVar[Half] = "output"
    uses_effects: ClassVar[bool] = True

    kind: Literal["promotes"] = "promotes"
    promoted: Annotated[int, Field(ge=1, le=1000)] = 10
    suppressed: _Count = 5
    by_weights: _Count = Field(default=0, description="tokens named that its output weights promote")

    def check(self, evidence: LayerEvidence, name: str) -> None:
        """Raise CapabilityError where weights are to be named that are not known."""
        check_weights(evidence, name, self.by_weights)

    def said(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Said | str:
        """Return the tokens; what it promotes when it is amplified is also a part to be read by itself.

        An encoder takes a token that is named as suppressed for one that is meant.
        """
        up = named(evidence, neuron, "promoted", self.promoted)
        down = named(evidence, neuron, "suppressed", self.suppressed)
        weights = [quoted(token) for token in promoted_tokens(evidence, neuron, self.by_weights)]
        clauses = [
            f"{verb} {', '.join(dict.fromkeys(tokens))}"
            for verb, tokens in (("promotes", up), ("suppresses", down), ("by its weights promotes", weights))
            if tokens
        ]
        if not up:
            return NOTHING_CHANGES
        return Said("; ".join(clauses), (_plain(evidence, neuron, self.promoted),))


def named(evidence: LayerEvidence, neuron: Neuron, change: Change, count: int) -> Sequence[str]:
    """Return the first tokens that an amplified neuron promotes or suppresses, in quotation marks."""
    return [quoted(token) for token in spelled(evidence, evidence.effects.tokens(neuron, change)[:count])]


def check_weights(evidence: LayerEvidence, name: str, count: int) -> None:
    """Raise CapabilityError where tokens by weight are asked for, and a layer's weights are not known."""
    if count and evidence.tables["connections"].is_empty():
        raise CapabilityError(
            f"study {evidence.study.name}: explainer {name!r} names what neurons promote by weight, and"
            f" the table connections of layer {evidence.layer} is empty, because the formula is not known for"
            f" {evidence.study.subject.model}; take by_weights out of explainers.{name}"
        )


def _plain(evidence: LayerEvidence, neuron: Neuron, count: int) -> str:
    """Return the promoted tokens without quotation marks, as an encoder best reads them."""
    tokens = spelled(evidence, evidence.effects.tokens(neuron, "promoted")[:count])
    return ", ".join(dict.fromkeys(unforged(token.strip() or token) for token in tokens))
