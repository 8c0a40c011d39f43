"""What neurons do to the next token, as the table of effects tells it."""

from collections.abc import Mapping
from typing import Literal

import polars as pl

from neuroscribe.evidence.exemplars import Neuron, by_neuron

Change = Literal["promoted", "suppressed"]


class Effects:
    """One layer's EFFECTS, by neuron."""

    def __init__(self, effects: pl.DataFrame) -> None:
        self._rows = by_neuron(effects)
        self._none = effects.clear()

    @property
    def neurons(self) -> tuple[Neuron, ...]:
        """The neurons that were amplified, each side by itself, ascending."""
        return tuple(sorted(self._rows))

    def tokens(self, neuron: Neuron, change: Change) -> list[int]:
        """Return the tokens that a neuron makes likelier, or less likely, the most changed first."""
        return self._of(neuron, change)["token_id"].to_list()

    def continuations(self, neuron: Neuron) -> Mapping[int, tuple[int, ...]]:
        """Return what the subject says with a neuron amplified, by the number of the opening."""
        rows = self._of(neuron, "continuation").select("rank", "token_ids")
        return {rank: tuple(token_ids) for rank, token_ids in rows.iter_rows()}

    def _of(self, neuron: Neuron, kind: str) -> pl.DataFrame:
        return self._rows.get(neuron, self._none).filter(kind=kind).sort("rank")
