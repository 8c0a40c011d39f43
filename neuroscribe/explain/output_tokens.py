"""The explainer `output_tokens`: what the tokens that a neuron promotes have in common, in an LLM's words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import promoted_tokens
from neuroscribe.explain.explainer import Asking, Before, Shown
from neuroscribe.explain.promotes import NOTHING_CHANGES, check_weights, named
from neuroscribe.explain.wording import Wording, filled
from neuroscribe.study.kinds import Half
from neuroscribe.text.escaping import quoted

_Count = Annotated[int, Field(ge=0, le=1000)]


class OutputTokens(Asking):
    """An LLM's words for the tokens that become likelier when the neuron is amplified."""

    half: ClassVar[Half] = "output"
    uses_effects: ClassVar[bool] = True

    kind: Literal["output_tokens"] = "output_tokens"
    promoted: Annotated[int, Field(ge=1, le=1000)] = 15
    suppressed: _Count = 8
    by_weights: _Count = Field(default=0, description="tokens shown that its output weights promote")
    worked_examples: bool = Field(
        default=True, description="whether worked examples go before; larger chat models need none"
    )

    may_find_none: bool = Field(
        default=False,
        description="whether the model may answer that the tokens have no theme; small ones then always do",
    )

    @property
    def words(self) -> Wording:
        """Its data file, without the examples where none are wanted."""
        words = super().words
        examples = words.examples if self.worked_examples else ()
        if not self.may_find_none:
            return replace(words, examples=examples)
        allowed = filled(words.parts["may_say"], no_theme=words.parts["no_theme"])
        return replace(words, instruction=f"{words.instruction} {allowed}", examples=examples)

    def check(self, evidence: LayerEvidence, name: str) -> None:
        """Raise CapabilityError where weights are to be shown that are not known."""
        check_weights(evidence, name, self.by_weights)

    def shown(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Shown:
        """Return the tokens, in quotation marks."""
        up = named(evidence, neuron, "promoted", self.promoted)
        if not up:
            return Shown(reason=NOTHING_CHANGES)
        down = named(evidence, neuron, "suppressed", self.suppressed)
        weights = [quoted(token) for token in promoted_tokens(evidence, neuron, self.by_weights)]
        words = self.words
        worked = [_worked(words, example.shown) for example in words.examples]
        return Shown((), words.messages(worked, _question(words, up, down, weights), self.answer))


def _worked(words: Wording, shown: Any) -> str:
    return _question(
        words, *([quoted(token) for token in shown[each]] for each in ("promoted", "suppressed"))
    )


def _question(
    words: Wording, promoted: Sequence[str], suppressed: Sequence[str], weights: Sequence[str] = ()
) -> str:
    by_weights = filled(words.parts["weights"], tokens=_listed(words, weights)) if weights else ""
    return filled(
        words.question,
        promoted=_listed(words, promoted),
        suppressed=_listed(words, suppressed),
        weights=by_weights,
    )


def _listed(words: Wording, tokens: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(tokens)) or words.parts["nothing"]
