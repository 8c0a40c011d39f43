"""The all-at-once simulator in this process: one pass asks about every token of a sequence by itself.

A row holds the sequence as running text, then one short question per token. An attention mask lets each
question see the explanation and the whole text, but no other question, so that answers do not drift along the
text (a small model that reads hidden values one after the other mostly repeats itself). Places are known by
position, never parsed out of text. A token that recurs in a sequence gets the same answer each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neuroscribe.errors import CapabilityError
from neuroscribe.escaping import escaped
from neuroscribe.local_llm import LocalLLM
from neuroscribe.ports import Simulated
from neuroscribe.simulate.distribution import expected_activations
from neuroscribe.simulate.prompts import (
    ASKING,
    DIGITS,
    QUESTION,
    asked_beginning,
    asked_opening,
    prompt_identity,
)


@dataclass(frozen=True)
class AskedRow:
    """One sequence as a row of LLM tokens: its text, then a question per token."""

    tokens: list[int]
    text_length: int
    questions: list[tuple[int, int]]
    """Per question: its first and one-past-last place in the row."""

    @property
    def slots(self) -> list[int]:
        """The place of each question's last token, after which a digit would come."""
        return [stop - 1 for _, stop in self.questions]

    def positions(self) -> Int[Tensor, " place"]:
        """Return each place's position after the prefix: every question stands right behind the text."""
        positions = torch.arange(len(self.tokens))
        for start, stop in self.questions:
            positions[start:stop] = torch.arange(self.text_length, self.text_length + stop - start)
        return positions

    def visible(self) -> Bool[Tensor, "place place"]:
        """Return which place may look at which: all is causal, and questions are apart from each other."""
        visible = torch.ones(len(self.tokens), len(self.tokens), dtype=torch.bool).tril()
        for start, _ in self.questions:
            visible[start:, self.text_length : start] = False
        return visible


class LocalSimulator:
    """Fulfils the `Simulator` port with a model in this process."""

    def __init__(self, llm: LocalLLM) -> None:
        self._llm = llm
        self._digits = [self._one_token(digit) for digit in DIGITS]
        self._opened: tuple[str, Any] | None = None

    @property
    def identity(self) -> str:
        """Model and prompt."""
        return f"{self._llm.identity}; all at once, {prompt_identity('asked')}"

    @property
    def sequences_per_call(self) -> int:
        """One sequence fills a pass: its questions are the batch."""
        return 1

    @property
    def calls_at_once(self) -> int:
        """One: calls are computed here, one after the other."""
        return 1

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the expected activation at every token of every sequence."""
        return [self._reading(explanation, tokens) for tokens in sequences]

    def texts(self, tokens: Sequence[bytes]) -> list[str]:
        """Return the tokens as they stand in the prompt."""
        return [escaped(token) for token in tokens]

    def row(self, tokens: Sequence[bytes]) -> AskedRow:
        """Lay out one sequence."""
        texts = self.texts(tokens)
        row = self._llm.encode("".join(texts) + ASKING)
        text_length = len(row)
        questions: list[tuple[int, int]] = []
        for text in texts:
            start = len(row)
            row += self._llm.encode(text) + self._llm.encode(QUESTION)
            questions.append((start, len(row)))
        return AskedRow(row, text_length, questions)

    def _reading(self, explanation: str, tokens: Sequence[bytes]) -> Simulated:
        row = self.row(tokens)
        probabilities = self._llm.probabilities(
            self._opening(explanation), row.tokens, row.positions(), row.visible(), row.slots, self._digits
        )
        values, mass = expected_activations(probabilities.double().numpy())
        return Simulated(tuple(values.tolist()), mass)

    def _opening(self, explanation: str) -> Any:
        """Return the cache of the prompt up to the text; kept while the explanation stays the same."""
        if self._opened is None or self._opened[0] != explanation:
            cache, _ = self._llm.prefix(asked_beginning())
            self._opened = (
                explanation,
                self._llm.extended(cache, self._llm.encode(asked_opening(explanation))),
            )
        return self._opened[1]

    def _one_token(self, digit: str) -> int:
        ids = self._llm.encode(digit)
        if len(ids) != 1:
            raise CapabilityError(
                f"{self._llm.identity}: its tokenizer writes {digit!r} as {len(ids)} tokens, so a digit can"
                " not be read in one place; choose another model for [llm]"
            )
        return ids[0]
