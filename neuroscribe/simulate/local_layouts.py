"""How a sequence is laid out for a model in this process: as a row of tokens whose slots are known.

Places are counted while the row is made, never parsed out of text, so that no tokenizer can blur them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from neuroscribe.escaping import escaped
from neuroscribe.local_rows import Row
from neuroscribe.simulate.prompts import (
    ASKING,
    HIDDEN,
    QUESTION,
    asked_beginning,
    asked_opening,
    hidden_beginning,
    hidden_opening,
    prompt_identity,
)

Encode = Callable[[str], list[int]]
"""Returns the token ids of a piece of plain text."""


class Layout(Protocol):
    """Lays out prompts of one kind."""

    @property
    def identity(self) -> str:
        """Version and hash of the wording."""
        ...

    def beginning(self) -> list[int]:
        """Return the instruction and the worked examples."""
        ...

    def opening(self, explanation: str) -> list[int]:
        """Return what introduces one neuron's text."""
        ...

    def row(self, tokens: Sequence[bytes]) -> tuple[Row, list[int]]:
        """Return a sequence's row, and for each of its tokens the number of the slot that is read for it."""
        ...


@dataclass(frozen=True)
class Asked:
    """The text once, then a question about each distinct token; questions do not see each other.

    A token that recurs would be answered alike each time, and so is asked about once.
    """

    encode: Encode
    identity: str = prompt_identity("asked")

    def beginning(self) -> list[int]:
        """Return the instruction and the worked examples."""
        return self.encode(asked_beginning())

    def opening(self, explanation: str) -> list[int]:
        """Return what introduces one neuron's text."""
        return self.encode(asked_opening(explanation))

    def row(self, tokens: Sequence[bytes]) -> tuple[Row, list[int]]:
        """Return the text with its questions, and each token's slot."""
        texts = [escaped(token) for token in tokens]
        places = self.encode("".join(texts) + ASKING)
        distinct = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        question, questions = self.encode(QUESTION), list[tuple[int, int]]()
        for text in distinct:
            start = len(places)
            places += self.encode(text) + question
            questions.append((start, len(places)))
        slots = [stop - 1 for _, stop in questions]
        return Row(places, slots, tuple(questions)), [distinct[text] for text in texts]


@dataclass(frozen=True)
class HiddenLines:
    """The paper's: a line per token whose value is hidden, read in one causal pass where the value stands."""

    encode: Encode
    identity: str = prompt_identity("hidden") + " by tabs"

    def beginning(self) -> list[int]:
        """Return the instruction and the worked examples."""
        return self._by_tabs(hidden_beginning())[0]

    def opening(self, explanation: str) -> list[int]:
        """Return what introduces one neuron's tokens; an explanation's own tabs are no places."""
        return self.encode(hidden_opening(explanation))

    def row(self, tokens: Sequence[bytes]) -> tuple[Row, list[int]]:
        """Return the lines up to the last token's tab, and each token's slot."""
        lines = f"{HIDDEN}\n".join(f"{escaped(token)}\t" for token in tokens)
        places, slots = self._by_tabs(lines)
        return Row(places, slots), list(range(len(slots)))

    def _by_tabs(self, text: str) -> tuple[list[int], list[int]]:
        """Return the ids of a text whose tabs are tokens of their own, and the place of each tab."""
        first, *others = text.split("\t")
        tab, places, slots = self.encode("\t"), self.encode(first), list[int]()
        for other in others:
            places += tab
            slots.append(len(places) - 1)
            places += self.encode(other) if other else []
        return places, slots
