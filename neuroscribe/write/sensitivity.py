"""The scorer `sensitivity`: how often the neuron fires on sentences that an LLM writes from the explanation.

Judged scores and simulations ask about text that was found; this asks whether what the explanation says is
enough to make the neuron fire. FADE (2025) calls it clarity.
"""

from typing import ClassVar, Literal

from neuroscribe.ports.replies import Message
from neuroscribe.ports.samples import Sample, sample_of
from neuroscribe.study.sections import Capability
from neuroscribe.write.prompts import writing_messages
from neuroscribe.write.writing import AskedWriting

_TOKENS_PER_SENTENCE, _TOKENS_AROUND = 50, 30


class Sensitivity(AskedWriting):
    """How often the neuron fires on sentences that an LLM writes from the explanation."""

    needs: ClassVar[Capability | None] = "reply"

    kind: Literal["sensitivity"] = "sensitivity"

    def messages(self, text: str) -> tuple[Message, ...]:
        """Return the prompt about an explanation."""
        return writing_messages(self.kind_name, text, self.sentences)

    @property
    def answer_tokens(self) -> int:
        """Room for as many passages, with their numbers."""
        return _TOKENS_AROUND + _TOKENS_PER_SENTENCE * self.sentences

    def samples(self, tokens: int) -> list[Sample]:
        """Return a question in the form of its own."""
        return [sample_of(self.messages("rain"), max_tokens=self.answer_tokens)]
