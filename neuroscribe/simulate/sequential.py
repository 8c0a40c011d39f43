"""Simulates a neuron's draws one batch after the other, until the interval of its score is narrow.

What is read next depends on the answers before it and on nothing else, so that a run that was killed and
continued reads the same sequences. An interval at which one stops is narrower than it should be, for the
choice of the moment favours lucky draws; `n_sequences` beside a score says that it was stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import polars as pl

from neuroscribe.evidence.drawn import STRATA
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.llm.calls import worked_through
from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.ports.replies import Simulated
from neuroscribe.simulate.questions import Task
from neuroscribe.study.scoring import FEWEST_SEQUENCES

Reading = tuple[Task, Sequence[Simulated]]
"""A task, or a part of one, with what was read of its sequences."""
Ask = Callable[[Task], Awaitable[list[Simulated]]]
Values = Mapping[int, Sequence[float]]
"""Simulated activations by sequence."""


@dataclass(frozen=True)
class Sequentially:
    """Works through drawn tasks; their order is spread over the strata, and so is every beginning of it."""

    ask: Ask
    evidence: LayerEvidence
    batch: int
    """Sequences asked for before the interval is looked at."""
    at_once: int
    skip: Callable[[int], None]
    """Is told how many sequences a task was spared."""

    async def readings(self, tasks: Sequence[Task], shown: Sequence[Reading]) -> list[Reading]:
        """Return the tasks as far as they were simulated; `shown` is what was read of them before."""
        before: dict[tuple[str, Neuron, str], dict[int, Sequence[float]]] = {}
        for task, readings in shown:
            values = before.setdefault((task.explanation_id, task.neuron, task.split), {})
            pairs = zip(task.sequence_ids, readings, strict=True)
            values.update({sequence: reading.activations for sequence, reading in pairs})

        async def read(task: Task) -> Reading:
            return await self._until_narrow(
                task, before.get((task.explanation_id, task.neuron, task.split), {})
            )

        return await worked_through(tasks, read, at_once=self.at_once)

    async def _until_narrow(self, task: Task, before: Values) -> Reading:
        ids, read = task.sequence_ids, list[Simulated]()
        known = {sequence: values for sequence, values in before.items() if sequence in task.strata}
        while len(read) < len(ids) and not self._is_narrow(task, known):
            # The first piece is never too short for an interval, so that no look at it is wasted.
            wanted = max(self.batch, FEWEST_SEQUENCES - len(known))
            piece = replace(task, sequence_ids=ids[len(read) : len(read) + wanted])
            answers = await self.ask(piece)
            pairs = zip(piece.sequence_ids, answers, strict=True)
            known |= {sequence: reading.activations for sequence, reading in pairs}
            read += answers
        self.skip(len(ids) - len(read))
        return replace(task, sequence_ids=ids[: len(read)]), read

    def _is_narrow(self, task: Task, known: Values) -> bool:
        width = self.evidence.study.scoring.stop_width
        names = {task.strata[sequence][0] for sequence in known}
        if (
            width is None
            or len(known) < FEWEST_SEQUENCES
            or names != {name for name, _ in task.strata.values()}
        ):
            return False
        row = self.evidence.tables["explanations"].row(
            by_predicate=pl.col("explanation_id") == task.explanation_id, named=True
        )
        population = self.evidence.population(row, task.split)
        truth = population.truth[population.places(tuple(known))]
        simulated = np.array(list(known.values()), dtype=np.float64)
        stratum = np.array([[STRATA.index(task.strata[sequence][0]) for sequence in known]])
        size = np.array([[task.strata[sequence][1] for sequence in known]], dtype=np.float64)
        (score,) = correlations(truth[None], simulated[None], Draws(stratum, size))
        if score.ci_low is None or score.ci_high is None:
            return False
        return score.ci_high - score.ci_low < width


async def in_pieces(ask: Ask, task: Task, size: int) -> list[Simulated]:
    """Return the readings of a task that is asked in calls of `size` sequences."""
    pieces = task.pieces(size)
    return list(chain.from_iterable(await asyncio.gather(*(ask(piece) for piece in pieces))))
