"""The explainer `logit_lens`: marked excerpts beside the tokens that a neuron promotes by its output weights.

Promoted tokens stand beside excerpts as in Neuronpedia's explanations.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from neuroscribe.errors import CapabilityError
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import promoted_tokens
from neuroscribe.explain.marking import NOTHING, Beside, Marking
from neuroscribe.explain.pairs import Excerpts
from neuroscribe.explain.wording import Example
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import quoted


class LogitLens(Marking):
    """Marked excerpts and the tokens that the neuron promotes by its output weights."""

    kind: Literal["logit_lens"] = "logit_lens"
    promoted: Annotated[int, Field(ge=1, le=10)] = Field(
        default=10, description="promoted tokens shown, of those in the table `connections`"
    )

    promoted_from: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="share of the layers below which no promoted tokens are shown: weights of early layers"
        " say little of the next token",
    )

    def check(self, evidence: LayerEvidence, name: str) -> None:
        """Raise CapabilityError where the output weights of a layer's neurons are not known."""
        if self._is_late(evidence) and evidence.tables["connections"].is_empty():
            study = evidence.study
            raise CapabilityError(
                f"study {study.name}: explainer {name!r} shows what neurons promote by their weights, and the"
                f" table connections of layer {evidence.layer} is empty, because the formula is not known for"
                f' {study.subject.model}; use kind = "highlights"'
            )

    def messages(
        self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts, beside: Beside = NOTHING
    ) -> tuple[Message, ...]:
        """Return the prompt that shows marked excerpts, the strongest last, and then the promoted tokens."""
        promoted = None
        if self._is_late(evidence):
            promoted = self._listed(promoted_tokens(evidence, neuron, self.promoted))
        asked = self.asked(excerpts, beside, promoted)
        return self.words.messages(self.worked_questions(), asked, self.answer)

    def promoted_in(self, example: Example) -> str | None:
        """Return the promoted tokens of a worked example."""
        return self._listed(example.shown["promoted"])

    def _is_late(self, evidence: LayerEvidence) -> bool:
        return evidence.layer >= self.promoted_from * evidence.study.subject.layers

    def _listed(self, tokens: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(quoted(token) for token in tokens)) or self.words.parts["nothing"]
