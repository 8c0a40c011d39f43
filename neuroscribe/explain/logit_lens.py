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
from neuroscribe.explain.explainer import Marking
from neuroscribe.explain.highlights import marked_question
from neuroscribe.explain.pairs import Excerpts
from neuroscribe.explain.wording import Wording
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import quoted
from neuroscribe.text.marks import marked


class LogitLens(Marking):
    """Marked excerpts and the tokens that the neuron promotes by its output weights."""

    kind: Literal["logit_lens"] = "logit_lens"
    promoted: Annotated[int, Field(ge=1, le=10)] = Field(
        default=10, description="promoted tokens shown, of those in the table `connections`"
    )

    def check(self, evidence: LayerEvidence, name: str) -> None:
        """Raise CapabilityError where the output weights of a layer's neurons are not known."""
        if evidence.tables["connections"].is_empty():
            study = evidence.study
            raise CapabilityError(
                f"study {study.name}: explainer {name!r} shows what neurons promote by their weights, and the"
                f" table connections of layer {evidence.layer} is empty, because the formula is not known for"
                f' {study.subject.model}; use kind = "highlights"'
            )

    def messages(self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts) -> tuple[Message, ...]:
        """Return the prompt that shows marked excerpts, the strongest last, and then the promoted tokens."""
        words = self.words
        worked = [
            marked_question(words, example.shown["excerpts"], _listed(words, example.shown["promoted"]))
            for example in words.examples
        ]
        promoted = _listed(words, promoted_tokens(evidence, neuron, self.promoted))
        question = marked_question(words, marked(excerpts[::-1]), promoted)
        return words.messages(worked, question, self.answer)


def _listed(wording: Wording, tokens: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(quoted(token) for token in tokens)) or wording.parts["nothing"]
