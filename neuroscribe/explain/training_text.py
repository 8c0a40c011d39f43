"""Training text of a neuron: where an explanation is most wrong there, and places drawn by chance.

With both sides brought to mean 0 and variance 1, a correlation is 1 - half of the mean squared difference of
neuron and reading. So the tokens where these differ most are those that cost an explanation most: misses,
where the neuron is the larger one and fires, and false alarms, where it is silent, be it that it fires at
other tokens beside.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence

Values = Float[np.ndarray, "sequence token"]


@dataclass(frozen=True)
class Place:
    """A token of the corpus, and what the neuron does in its sequence."""

    sequence_id: int
    position: int
    values: tuple[float, ...]
    """Activation on the explained side, token by token."""


@dataclass(frozen=True)
class Found:
    """Places where the neuron fires, and places where it is silent."""

    firing: tuple[Place, ...] = ()
    silent: tuple[Place, ...] = ()

    @property
    def sequence_ids(self) -> tuple[int, ...]:
        """The sequences that they are in."""
        return tuple(place.sequence_id for place in (*self.firing, *self.silent))


class TrainingText:
    """The kept sequences of documents on which nothing about a neuron's side is ever scored."""

    def __init__(
        self, evidence: LayerEvidence, neuron: Neuron, *, is_table_read: bool, without: Sequence[int] = ()
    ) -> None:
        """Leave the sequences in `without` out, too.

        Where a token table was read, scores are of the documents that it is not learned from; else of all but
        those of which something was shown, and of exemplars of `valid` and `test`.
        """
        self._evidence = evidence
        kept = evidence.truth(neuron)
        self._rows = np.flatnonzero(
            ~_is_scored(evidence, neuron, kept.sequence_ids, is_table_read=is_table_read)
            & ~np.isin(kept.sequence_ids, list(without))
        )
        self._ids, self._values = kept.sequence_ids[self._rows], kept.values[self._rows]
        self._fires = _at_least(self._values, evidence.firing(neuron))

    def errors(self, readings: Values, *, firing: int, silent: int) -> Found:
        """Return the worst misses and the worst false alarms of what was read on all kept sequences."""
        expected = _standardised(readings[self._rows])
        surplus = _standardised(self._values) - expected
        missed = np.where(self._fires, surplus, 0.0)
        # Below the mean nothing is expected, whatever the neuron's own mean is.
        alarms = np.where((expected > 0) & ~self._fires, -surplus, 0.0)
        worst = self._largest(missed, firing)
        return Found(worst, self._largest(alarms, silent, without=worst))

    def drawn(self, seed: str, *, firing: int, silent: int) -> Found:
        """Return as many sequences by chance: at the peak where it fires, others at a silent token."""
        generator = random.Random(f"training text {seed}")  # noqa: S311 - a seeded draw
        order = list(range(len(self._ids)))
        generator.shuffle(order)
        fires: set[int] = set(np.flatnonzero(self._fires.any(axis=1)).tolist())
        first = [row for row in order if row in fires][:firing]
        peaks = [self._place(row, int(self._values[row].argmax())) for row in first]
        quiet: dict[int, list[int]] = {
            row: np.flatnonzero(~self._fires[row]).tolist() for row in order if row not in first
        }
        others = [self._place(row, generator.choice(tokens)) for row, tokens in quiet.items() if tokens]
        return Found(tuple(peaks), tuple(others[:silent]))

    def _largest(self, costs: Values, count: int, *, without: Sequence[Place] = ()) -> tuple[Place, ...]:
        """Return the dearest places with a cost above 0: of different documents, and tokens if there are.

        Documents of the places in `without` have had their turn.
        """
        documents = self._evidence.documents(self._ids)
        done = self._evidence.documents(np.array([place.sequence_id for place in without], dtype=np.int64))
        ranked = [place for place in self._ranked(costs) if documents[place[0]] not in done]
        chosen: list[tuple[int, int]] = []
        for is_repeated in (False, True):
            for row, position in ranked:
                taken = {documents[other] for other, _ in chosen}
                tokens = {self._token(*place) for place in chosen}
                is_new = is_repeated or self._token(row, position) not in tokens
                if len(chosen) < count and documents[row] not in taken and is_new:
                    chosen.append((row, position))
        return tuple(self._place(*place) for place in chosen)

    def _ranked(self, costs: Values) -> Iterator[tuple[int, int]]:
        """Yield each sequence with its dearest token, dearest first, of those above 0."""
        if not costs.size:
            return
        worst = costs.max(axis=1)
        for row in np.argsort(-worst, kind="stable"):
            if worst[row] > 0:
                yield int(row), int(costs[row].argmax())

    def _token(self, row: int, position: int) -> bytes:
        return self._evidence.tokens[int(self._ids[row])][position].strip().lower()

    def _place(self, row: int, position: int) -> Place:
        return Place(int(self._ids[row]), position, tuple(self._values[row].tolist()))


def _is_scored(
    evidence: LayerEvidence,
    neuron: Neuron,
    sequence_ids: Int[np.ndarray, " sequence"],
    *,
    is_table_read: bool,
) -> Bool[np.ndarray, " sequence"]:
    """Tell which sequences are of a document on which an explanation may be scored beside the population."""
    if is_table_read:
        return evidence.held_out[sequence_ids]
    exemplars = evidence.records(neuron).filter(pl.col("split") != "train")["sequence_id"].to_numpy()
    documents = evidence.documents(sequence_ids)
    return np.isin(documents, evidence.documents(exemplars.astype(np.int64)))


def _at_least(values: Values, least: float) -> Bool[np.ndarray, "sequence token"]:
    return np.asarray(values >= least)


def _standardised(values: Values) -> Values:
    """Return values with mean 0 and variance 1; 0 where all are the same."""
    spread = values.std() if values.size else 0.0
    return (values - values.mean()) / spread if spread > 0 else np.zeros(values.shape)
