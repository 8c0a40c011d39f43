"""Rows of tokens that go on from one prefix, side by side in one pass of a causal language model.

A row is a text and, behind it, questions that see prefix and text but not each other. Positions are set as
if each question were the only one, so that one pass gives what separate prompts would. Rows of unequal length
are filled up at their ends, where nothing that is read can see it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

_FILLING = -1


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


def batches(rows: Sequence[Row], places: int) -> Iterator[Sequence[Row]]:
    """Yield the rows in order, together as long as they fill no more than so many places; one at least.

    What stands together follows from the rows alone, so that the same rows are computed the same way again.
    """
    start, longest = 0, 0
    for index, row in enumerate(rows):
        longest = max(longest, len(row.tokens))
        if index > start and longest * (index + 1 - start) > places:
            yield rows[start:index]
            start, longest = index, len(row.tokens)
    if rows:
        yield rows[start:]


def inputs(rows: Sequence[Row], after: int, *, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return a batch's arguments for a transformers model whose cache holds a prefix of `after` tokens.

    Rows without questions are left to the model's own causal attention; they need neither mask nor positions.
    """
    longest = max(len(row.tokens) for row in rows)
    ids = [_filled(row.tokens, row.tokens[-1], longest) for row in rows]
    given: dict[str, Any] = {"input_ids": torch.tensor(ids, device=device)}
    if any(row.questions for row in rows):
        positions = [_filled(row.positions(), 0, longest) for row in rows]
        stretches = [_filled(row.stretches(), _FILLING, longest) for row in rows]
        seen = visible(torch.tensor(stretches, device=device))
        mask = torch.zeros(len(rows), 1, longest, after + longest, dtype=dtype, device=device)
        mask[:, 0, :, after:].masked_fill_(~seen, torch.finfo(dtype).min)
        given["attention_mask"] = mask
        given["position_ids"] = torch.tensor(positions, device=device) + after
    return given


def visible(stretches: Int[Tensor, "row place"]) -> Bool[Tensor, "row place place"]:
    """Return which place of a row sees which: what stands before it in the text or in its own question."""
    seen, seeing = stretches[:, None, :], stretches[:, :, None]
    return ((seen == 0) | (seen == seeing)).tril()


def _filled(values: Sequence[int], filling: int, length: int) -> list[int]:
    return [*values, *[filling] * (length - len(values))]
