"""What a model in this process can be asked beside prompts: probabilities at many places of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from neuroscribe.ports.models import Answerer

if TYPE_CHECKING:  # a study whose models are served runs without torch, which takes seconds to import
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class Row:
    """One text with its questions, as tokens, and the places after which something is read."""

    tokens: Sequence[int]
    slots: Sequence[int]
    """Places in the row whose next token is of interest, ascending."""
    questions: Sequence[tuple[int, int]] = ()
    """First and one-past-last place of each question; they follow the text and one another without gap."""

    def positions(self) -> list[int]:
        """Return each place's position after the prefix: every question stands right behind the text."""
        text = self.questions[0][0] if self.questions else len(self.tokens)
        asked = [text + step for start, stop in self.questions for step in range(stop - start)]
        return [*range(text), *asked]

    def stretches(self) -> list[int]:
        """Return for each place 0 in the text, or the number of its question, from 1."""
        text = self.questions[0][0] if self.questions else len(self.tokens)
        asked = [number for number, (a, b) in enumerate(self.questions, 1) for _ in range(b - a)]
        return [0] * text + asked


@runtime_checkable
class RowReader(Answerer, Protocol):
    """A language model whose rows can be read; those that are served cannot."""

    @property
    def opening(self) -> list[int]:
        """Token ids that every prompt of running text begins with; none for most models."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return token ids of plain text; text that looks like a special token stays text."""
        ...

    def prefix(self, *parts: Sequence[int]) -> Any:
        """Return what rows go on from: token ids, part after part, read once and kept."""
        ...

    def probabilities(
        self, prefix: Any, rows: Sequence[Row], values: Sequence[int]
    ) -> "list[Float[Tensor, 'slot value']]":
        """Return, for each row, the probability of each value token right after each of the row's slots.

        Raises LLMError when a row is longer than the model reads, or its numbers overflow.
        """
        ...

    def check_questions(self, tokens: Sequence[int]) -> None:
        """Raise CapabilityError unless questions apart from each other can be read in one row.

        `tokens` are eight or more ids for a sample.
        """
        ...
