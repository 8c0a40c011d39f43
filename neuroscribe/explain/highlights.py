"""The explainer `highlights`: excerpts in running text with the strongly firing tokens marked.

Shorter than token-activation pairs, and better for small models, which lose the thread of long columns. Later
work scores marked excerpts higher for large ones too (Lee et al. 2023).
"""

from typing import Literal

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.marking import NOTHING, Beside, Marking
from neuroscribe.explain.pairs import Excerpts
from neuroscribe.ports.replies import Message


class Highlights(Marking):
    """Excerpts as running text with the strongly firing tokens marked: better for small models."""

    kind: Literal["highlights"] = "highlights"

    def messages(
        self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts, beside: Beside = NOTHING
    ) -> tuple[Message, ...]:
        """Return the prompt that shows marked excerpts, the last of which is the strongest."""
        return self.words.messages(self.worked_questions(), self.asked(excerpts, beside), self.answer)
