import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.agreement import correlation
from neuroscribe.ports.replies import Simulated
from neuroscribe.simulate.questions import Task
from neuroscribe.simulate.stage import simulated
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import NEURON_RECORDS
from neuroscribe.testing.rows import exemplar_row, sequence_table, vocabulary_table
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study

TOP, RANDOM = tuple(range(10, 20)), tuple(range(50, 60))
TURNS = tuple(sequence for pair in zip(TOP, RANDOM, strict=True) for sequence in pair)
ONE, OTHER = (1, 1), (2, 1)


def truth(neuron: Neuron, sequence: int) -> np.ndarray:
    return np.random.default_rng([*neuron, sequence]).random(6)


EXEMPLARS = [
    exemplar_row(neuron[0], sequence, truth(neuron, sequence).tolist(), kind=kind, rank=sequence)
    for neuron in (ONE, OTHER)
    for kind, ids in (("top", TOP), ("random", RANDOM))
    for sequence in ids
]
SPELLED = [f"{sequence} {place}".encode() for sequence in range(60) for place in range(6)]
"""Every token of a sequence names it."""
TABLES = {
    "corpus/sequences": sequence_table([range(6 * sequence, 6 * sequence + 6) for sequence in range(60)]),
    "corpus/vocabulary": vocabulary_table(SPELLED),
    "neuron_records": NEURON_RECORDS.frame(EXEMPLARS),
}


class Noisy:
    """Simulates the truth of neuron 1 with as much noise as the explanation says."""

    identity, calls_at_once, keeps_calls = "noisy", 3, False

    def __init__(self, per_call: int = 1) -> None:
        self.sequences_per_call = per_call
        self.asked: list[tuple[str, int]] = []

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        await asyncio.sleep(0)
        readings: list[Simulated] = []
        for tokens in sequences:
            sequence = int(tokens[0].split()[0])
            self.asked.append((explanation, sequence))
            noise = np.random.default_rng(sequence).random(6) * float(explanation)
            readings.append(Simulated(tuple((truth(ONE, sequence) + noise).tolist()), 1.0))
        return readings


def study(width: float | None = 0.12) -> Study:
    return tiny_study(
        capture={"top_k": 40, "random_exemplars": 30},
        scoring={"bootstrap_samples": 100, "stop_width": width, "sequences_per_split": 10},
    )


def tasks(text: str, name: str = "e1", *, is_control: bool = False) -> list[Task]:
    return [Task(name, text, ONE, "test", ids, is_control) for ids in (TOP, RANDOM)]


def table(own: list[Task], simulator: Noisy | None = None, **given: Any) -> pl.DataFrame:
    return asyncio.run(
        simulated(
            LayerEvidence(given.get("study", study()), 0, TABLES),
            {"all_at_once": own},
            simulators={"all_at_once": simulator or Noisy()},
            calls=given.get("calls", MemoryCalls()),
            progress=given.get("progress", SilentProgress()),
        )
    )


def width(rows: pl.DataFrame) -> float:
    own = np.stack([truth(ONE, sequence) for sequence in rows["sequence_id"]])
    found = correlation(own, np.array(rows["simulated"].to_list()), samples=100, seed=0)
    return found.ci_high - found.ci_low


def test_a_sure_score_takes_four_sequences_top_and_random_in_turn() -> None:
    assert table(tasks("0"))["sequence_id"].to_list() == list(TURNS[:4])


def test_an_unsure_one_takes_more_until_its_interval_is_narrow_enough() -> None:
    rows = table(tasks("1.0"))
    assert 4 < len(rows) < 20
    assert rows["sequence_id"].to_list() == list(TURNS[: len(rows)])
    assert width(rows) < 0.12
    assert width(rows[:-2]) >= 0.12


def test_one_that_never_gets_narrow_takes_all() -> None:
    assert set(table(tasks("50"))["sequence_id"]) == set(TURNS)


def test_without_a_width_all_sequences_are_simulated_in_their_order() -> None:
    rows = table(tasks("0"), study=study(None))
    assert rows["sequence_id"].to_list() == [*TOP, *RANDOM]


def test_a_control_is_simulated_on_what_its_neuron_was_scored_on() -> None:
    own = [*tasks("0"), *tasks("1.0", "e2"), *tasks("9", "e3", is_control=True)]
    rows = table(own)
    used = {name: rows.filter(explanation_id=name)["sequence_id"].to_list() for name in ("e1", "e2", "e3")}
    assert len(used["e1"]) == 4 < len(used["e2"])
    assert used["e3"] == used["e2"]


@pytest.mark.parametrize("per_call", [1, 3])
def test_a_killed_run_reads_the_same_sequences_and_asks_only_for_what_is_missing(per_call: int) -> None:
    calls, simulator = MemoryCalls(), Noisy(per_call)
    own = [*tasks("1.0"), *tasks("9", "e3", is_control=True)]
    whole = table(own, Noisy(per_call))
    with pytest.raises(Interrupted):
        table(own, simulator, calls=calls, progress=SilentProgress(fail_at=4))
    assert table(own, simulator, calls=calls).equals(whole)
    assert len(simulator.asked) <= len(whole) + 3 * per_call


def test_what_was_spared_counts_as_done_and_is_noted() -> None:
    progress = SilentProgress()
    table(tasks("0"), progress=progress)
    label = "simulate s with all_at_once"
    assert progress.done[label] == progress.totals[label] == 20
    assert "stopped early" in progress.notes
