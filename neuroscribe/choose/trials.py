"""One question which of several options is meant."""

from collections.abc import Sequence
from dataclasses import dataclass

from neuroscribe.choose.prompts import choosing_messages
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Request, turns
from neuroscribe.ports.replies import Message, as_text

_ANSWERS = 1
"""Raise when the code that asks or reads changes what the same prompt is answered with."""
MAX_TOKENS = 8
"""Room for one number and whatever a model puts before it."""


@dataclass(frozen=True)
class Option:
    """What may be chosen: a few texts."""

    name: str
    """Names it in the table."""
    texts: tuple[bytes, ...]


@dataclass(frozen=True)
class Trial:
    """One question, which an LLM or an encoder answers. Fulfils `llm.calls.Question`."""

    neuron: Neuron
    """The one that the right option is of."""
    split: str
    number: int
    """Among the questions about this neuron on this split."""
    options: tuple[Option, ...]
    """In the order in which they are shown."""
    right: int
    """Place among them of the one that is meant."""
    layout: str
    """The table in `prompts.toml` by which an LLM is asked."""
    explanation_id: str | None = None
    text: str = ""
    """The explanation that is named; empty where none is."""
    parts: tuple[str, ...] | None = None
    """Texts of which an encoder reads each by itself; None: the whole text."""
    is_asked: bool = True
    """Whether an LLM is asked."""

    @property
    def messages(self) -> list[Message]:
        """The prompt; none where no LLM is asked."""
        return choosing_messages(self.layout, self.text, self._shown) if self.is_asked else []

    @property
    def _shown(self) -> Sequence[Sequence[bytes]]:
        return [option.texts for option in self.options]

    def key(self, identity: str) -> str:
        """Return the key under which an answer to it, by whoever has this identity, is stored."""
        return fingerprint("choice", _ANSWERS, identity, turns(self.messages))

    @property
    def n_calls(self) -> int:
        """One, or none for an encoder."""
        return int(self.is_asked)

    def requests(self) -> list[Request]:
        """Return the prompt."""
        return [(as_text(self.messages), MAX_TOKENS)] if self.is_asked else []
