"""What is asked for the sentences of a layer's explanations: one call for each explanation."""

from dataclasses import dataclass

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Request, turns
from neuroscribe.ports.replies import Message, as_text
from neuroscribe.write.writing import AskedWriting, Writing

_ANSWERS = 1
"""Raise when the code that asks or reads changes what the same prompt is answered with."""


@dataclass(frozen=True)
class Question:
    """An explanation from which sentences are written. Fulfils `llm.calls.Question`."""

    text: str
    spec: AskedWriting

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt."""
        return self.spec.messages(self.text)

    def key(self, identity: str) -> str:
        """Return the key under which the answer of a model, by its identity, is stored."""
        limit = self.spec.answer_tokens
        return fingerprint("sentences", _ANSWERS, identity, turns(self.messages), self.spec.sentences, limit)

    @property
    def n_calls(self) -> int:
        """One."""
        return 1

    def requests(self) -> list[Request]:
        """Return the prompt, and how long its answer may be."""
        return [(as_text(self.messages), self.spec.answer_tokens)]


def questions(evidence: LayerEvidence, name: str) -> list[Question]:
    """Return what a scorer asks of a layer, each text once; nothing for one that asks no LLM."""
    spec = writing(evidence, name)
    if not isinstance(spec, AskedWriting):
        return []
    rows = (row for explainer in spec.explainers for row in evidence.usable(explainer))
    return [Question(text, spec) for text in dict.fromkeys(row["text"] for row in rows)]


def writing(evidence: LayerEvidence, name: str) -> Writing:
    """Return the settings of a scorer of the study."""
    spec = evidence.study.writing[name]
    assert isinstance(spec, Writing), "every kind of writer derives from Writing"
    return spec
