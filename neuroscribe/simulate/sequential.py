"""Simulates a neuron's sequences one batch after the other, until the interval of its score is narrow.

What is read next depends on the answers before it and on nothing else, so that a run that was killed and
continued reads the same sequences. An interval at which one stops is narrower than it should be, for the
choice of the moment favours lucky draws; `n_sequences` beside a score says that it was stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.llm.calls import worked_through
from neuroscribe.measures.agreement import correlation
from neuroscribe.ports.replies import Simulated
from neuroscribe.simulate.questions import Task
from neuroscribe.study.scoring import ScoringSpec

LEAST = 4
"""Sequences that are always read: two of each kind say little enough."""

Ask = Callable[[Task], Awaitable[list[Simulated]]]
Truth = Mapping[tuple[Neuron, int], Float[np.ndarray, " token"]]
"""Activation on the explained side, by neuron and sequence."""


@dataclass(frozen=True)
class Sequentially:
    """Works through tasks, each neuron's top and random sequences in turn."""

    ask: Ask
    truth: Truth
    scoring: ScoringSpec
    batch: int
    """Sequences asked for before the interval is looked at."""
    at_once: int
    skip: Callable[[int], None]
    """Is told how many sequences a task was spared."""

    async def readings(self, tasks: Sequence[Task]) -> list[tuple[Task, list[Simulated]]]:
        """Return the tasks as far as they were simulated, controls on what their neuron was scored on."""
        scored = [task for task in tasks if not task.is_control]
        done = await worked_through(_alternating(scored), self._until_narrow, at_once=self.at_once)
        # A control is a mark beside a score only where both rest on the same sequences; of several candidates
        # the one that was read furthest has all the sequences of the others, for all follow one order.
        longest: dict[Neuron, tuple[int, ...]] = {}
        for task, _ in done:
            if task.split == "test" and len(task.sequence_ids) > len(longest.get(task.neuron, ())):
                longest[task.neuron] = task.sequence_ids
        others = _alternating([task for task in tasks if task.is_control])
        short = [replace(task, sequence_ids=longest[task.neuron]) for task in others]
        self.skip(sum(len(task.sequence_ids) for task in others) - sum(len(t.sequence_ids) for t in short))
        read = await worked_through(short, self.ask, at_once=self.at_once)
        return [*done, *zip(short, read, strict=True)]

    async def _until_narrow(self, task: Task) -> tuple[Task, list[Simulated]]:
        ids, read = task.sequence_ids, list[Simulated]()
        while len(read) < len(ids) and not self._is_narrow(task, read):
            # The first piece is never too short for an interval, so that no look at it is wasted.
            wanted = max(LEAST, self.batch) if not read else self.batch
            piece = replace(task, sequence_ids=ids[len(read) : len(read) + wanted])
            read += await self.ask(piece)
        self.skip(len(ids) - len(read))
        return replace(task, sequence_ids=ids[: len(read)]), read

    def _is_narrow(self, task: Task, read: Sequence[Simulated]) -> bool:
        if len(read) < LEAST or self.scoring.stop_width is None:
            return False
        truth = np.stack([self.truth[task.neuron, sequence] for sequence in task.sequence_ids[: len(read)]])
        simulated = np.array([reading.activations for reading in read], dtype=np.float64)
        scoring = self.scoring
        score = correlation(truth, simulated, samples=scoring.bootstrap_samples, seed=scoring.seed)
        if score.ci_low is None or score.ci_high is None:
            return False
        return score.ci_high - score.ci_low < self.scoring.stop_width


async def in_pieces(ask: Ask, task: Task, size: int) -> list[Simulated]:
    """Return the readings of a task that is asked in calls of `size` sequences."""
    pieces = task.pieces(size)
    return list(chain.from_iterable(await asyncio.gather(*(ask(piece) for piece in pieces))))


def _alternating(tasks: Iterable[Task]) -> list[Task]:
    """Return one task per explanation, neuron and split: the first sequence of each unit, then the second."""
    units: dict[tuple[str, Neuron, str], list[Task]] = {}
    for task in tasks:
        units.setdefault((task.explanation_id, task.neuron, task.split), []).append(task)
    joined: list[Task] = []
    for parts in units.values():
        turns = chain.from_iterable(zip_longest(*(task.sequence_ids for task in parts)))
        joined.append(
            replace(parts[0], sequence_ids=tuple(sequence for sequence in turns if sequence is not None))
        )
    return joined
