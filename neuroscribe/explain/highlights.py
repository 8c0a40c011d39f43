"""The explainer `highlights`: excerpts in running text with the strongly firing tokens marked.

Shorter than token-activation pairs, and better for small models, which lose the thread of long columns. Later
work scores marked excerpts higher for large ones too (Lee et al. 2023).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Marking
from neuroscribe.explain.pairs import Excerpts
from neuroscribe.explain.wording import Wording, filled
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import quoted
from neuroscribe.text.marks import marked, marked_texts


class Highlights(Marking):
    """Excerpts as running text with the strongly firing tokens marked: better for small models."""

    kind: Literal["highlights"] = "highlights"

    def messages(self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts) -> tuple[Message, ...]:
        """Return the prompt that shows marked excerpts, the last of which is the strongest."""
        worked = [marked_question(self.words, example.shown["excerpts"]) for example in self.words.examples]
        question = marked_question(self.words, marked(excerpts[::-1]))
        return self.words.messages(worked, question, self.answer)


def marked_question(wording: Wording, excerpts: Sequence[str], promoted: str = "") -> str:
    """Return the question that shows some marked excerpts, and what is promoted where that is shown."""
    # The number keeps corpus text from the beginning of a line, where headings and answers stand.
    lines = "\n".join(f"{place}. {excerpt}" for place, excerpt in enumerate(excerpts, start=1))
    tokens = Counter(token for excerpt in excerpts for token in marked_texts(excerpt))
    counted = ", ".join(
        quoted(token) + (f" x{count}" if count > 1 else "") for token, count in tokens.most_common()
    )
    return filled(wording.question, excerpts=lines, tokens=counted, promoted=promoted)
