import asyncio
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from neuroscribe.errors import LLMError
from neuroscribe.evidence.controls import controls
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.replies import ReadingStatus, Simulated, Usage
from neuroscribe.simulate.questions import Task, simulation_tasks
from neuroscribe.simulate.stage import simulated
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS, NEURON_RECORDS
from neuroscribe.testing.rows import exemplar_row, explanation_row, sequence_table, vocabulary_table
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study

TOP = {"train": (10, 14), "valid": (11, 12), "test": (13,)}
RANDOM = {"valid": (20, 21), "test": (22,)}
"""Sequences of every neuron by split; those of neuron n are 100 n higher, but for the shared random ones."""
CORPUS = {
    "corpus/sequences": sequence_table([(0, 1, 2 + sequence) for sequence in range(1000)]),
    "corpus/vocabulary": vocabulary_table([b"a", b"b", *(str(own).encode() for own in range(1000))]),
}


def exemplar(neuron: Neuron, kind: str, split: str, rank: int, sequence: int) -> dict[str, Any]:
    values, given = [1.0 * neuron[1], 0.0, 0.0], {"kind": kind, "split": split, "rank": rank}
    return exemplar_row(neuron[0], sequence, values, polarity=neuron[1], **given)


def records(neurons: Sequence[Neuron]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for neuron in neurons:
        for kind, splits, shift in (("top", TOP, 100 * neuron[0]), ("random", RANDOM, 0)):
            pairs = [(split, sequence + shift) for split, ids in splits.items() for sequence in ids]
            rows += [exemplar(neuron, kind, split, rank, own) for rank, (split, own) in enumerate(pairs)]
    return NEURON_RECORDS.frame(rows)


def explanation(neuron: Neuron, text: str | None, *, index: int = 0, status: str = "ok") -> dict[str, Any]:
    name, seen = f"e{neuron[0]}{neuron[1]:+}{index}", {"sequence_ids": [10, 14], "status": status}
    return explanation_row(neuron[0], index, explanation_id=name, polarity=neuron[1], text=text, **seen)


def study(candidates: int = 1) -> Study:
    explainers = {"token_pairs": {"candidates": candidates}}
    return tiny_study(capture={"polarities": "both"}, explainers=explainers)


def tasks(rows: list[dict[str, Any]], candidates: int = 1) -> list[Task]:
    neurons = list(dict.fromkeys((row["neuron"], row["polarity"]) for row in rows))
    tables = {"explanations": EXPLANATIONS.frame(rows), "neuron_records": records(neurons)}
    return simulation_tasks(LayerEvidence(study(candidates), 0, tables), "all_at_once")


def controlled(
    rows: list[dict[str, Any]], tested: dict[Neuron, list[int]] | None = None
) -> dict[Neuron, str]:
    """Return the control of each neuron by name; neurons are tested on nothing unless it is said."""
    own = LayerEvidence(study(), 0, {"explanations": EXPLANATIONS.frame(rows)}).usable("token_pairs")
    everywhere = {(row["neuron"], row["polarity"]): list[int]() for row in own} | (tested or {})
    return {neuron: control["explanation_id"] for neuron, control in controls(own, everywhere).items()}


ALPHA, BETA, GAMMA = (explanation((n, 1), text) for n, text in ((1, "alpha"), (2, "beta"), (3, "gamma")))


def test_an_explanation_is_simulated_on_its_test_sequences_and_on_its_controls() -> None:
    found = [
        (task.explanation_id, task.neuron, task.split, task.sequence_ids) for task in tasks([ALPHA, BETA])
    ]
    assert found == [
        ("e1+10", (1, 1), "test", (113,)),
        ("e1+10", (1, 1), "test", (22,)),
        ("e1+10", (2, 1), "test", (213,)),
        ("e1+10", (2, 1), "test", (22,)),
        ("e2+10", (2, 1), "test", (213,)),
        ("e2+10", (2, 1), "test", (22,)),
        ("e2+10", (1, 1), "test", (113,)),
        ("e2+10", (1, 1), "test", (22,)),
    ]


def test_candidates_are_simulated_on_valid_too_and_the_control_is_not() -> None:
    rows = [ALPHA, explanation((1, 1), "alpha two", index=1), BETA]
    found = tasks(rows, candidates=2)
    valid = {(task.explanation_id, task.sequence_ids) for task in found if task.split == "valid"}
    assert valid == {
        (name, ids)
        for name, first in (("e1+10", 100), ("e1+11", 100), ("e2+10", 200))
        for ids in ((11 + first, 12 + first), (20, 21))
    }


def test_no_training_sequence_is_ever_simulated() -> None:
    seen = BETA | {"sequence_ids": [210, 113]}  # of which 113 tests neuron 1
    found = tasks([ALPHA, seen, GAMMA, explanation((3, 1), "delta", index=1)], candidates=2)
    training = {sequence + 100 * neuron for neuron in (1, 2, 3) for sequence in TOP["train"]}
    assert training.isdisjoint({sequence for task in found for sequence in task.sequence_ids})
    assert 113 not in {s for task in found if task.explanation_id == "e2+10" for s in task.sequence_ids}


def test_explanations_without_a_text_are_not_simulated() -> None:
    refused = explanation((2, 1), None, status="refused")
    assert {task.explanation_id for task in tasks([ALPHA, refused])} == {"e1+10"}


def test_a_control_is_the_next_neuron_whose_text_differs() -> None:
    again = explanation((2, 1), "alpha")
    pairs = controlled([ALPHA, again, GAMMA])
    assert pairs == {(1, 1): "e3+10", (2, 1): "e3+10", (3, 1): "e1+10"}


def test_a_control_is_never_the_other_side_of_the_same_neuron() -> None:
    pairs = controlled([ALPHA, explanation((1, -1), "minus"), BETA])
    assert pairs == {(1, -1): "e2+10", (1, 1): "e2+10", (2, 1): "e1-10"}


def test_a_control_is_the_first_candidate_of_the_other_neuron() -> None:
    assert controlled([ALPHA, explanation((1, 1), "more", index=1), BETA])[2, 1] == "e1+10"


def test_a_control_has_seen_none_of_the_sequences_on_which_it_is_simulated() -> None:
    seen = BETA | {"sequence_ids": [210, 22]}
    tested = {(1, 1): [113, 22]}
    assert controlled([ALPHA, seen, GAMMA], tested)[1, 1] == "e3+10"
    assert list(controlled([ALPHA, seen], tested)) == [(2, 1)]


def test_neurons_with_one_text_between_them_have_no_control() -> None:
    assert controlled([ALPHA, explanation((2, 1), "alpha")]) == {}
    assert controlled([]) == {}


class Lengths:
    """A simulator that reads the length of the explanation into the first token of each sequence."""

    identity = "lengths 1"

    calls_at_once = 3
    keeps_calls = False

    def __init__(self, *, per_call: int = 2, missing: int = 0) -> None:
        self.asked: list[tuple[str, int]] = []
        self.sequences_per_call = per_call
        self._missing = missing

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        self.asked.append((explanation, len(sequences)))
        await asyncio.sleep(0)
        values = [(float(len(explanation)),) + (0.0,) * (len(tokens) - 1) for tokens in sequences]
        return [Simulated(own[: len(own) - self._missing], 0.5) for own in values]


def simulations(
    simulator: Lengths,
    own: list[Task],
    calls: MemoryCalls | None = None,
    progress: SilentProgress | None = None,
) -> pl.DataFrame:
    return asyncio.run(
        simulated(
            LayerEvidence(study(), 0, CORPUS),
            {"all_at_once": own},
            simulators={"all_at_once": simulator},
            calls=calls or MemoryCalls(),
            progress=progress or SilentProgress(),
        )
    )


def test_every_sequence_of_a_task_gets_its_row() -> None:
    own = [Task("e1", "alpha", (1, -1), "valid", (3, 4, 5))]
    simulator = Lengths()
    table = simulations(simulator, own)
    assert table.select("explanation_id", "neuron", "polarity", "sequence_id", "split").rows() == [
        ("e1", 1, -1, sequence, "valid") for sequence in (3, 4, 5)
    ]
    assert table["simulated"].to_list() == [[5.0, 0.0, 0.0]] * 3
    assert table["valid_fraction"].to_list() == [0.5] * 3
    assert table.select("simulator", "model").unique().rows() == [("all_at_once", "lengths 1")]
    assert simulator.asked == [("alpha", 2), ("alpha", 1)]


def test_a_question_that_recurs_is_asked_once() -> None:
    simulator = Lengths()
    table = simulations(
        simulator, [Task("e1", "same", (1, 1), "test", (22,)), Task("e2", "same", (2, 1), "test", (22,))]
    )
    assert len(table) == 2
    assert simulator.asked == [("same", 1)]


def test_a_killed_run_asks_only_what_was_not_answered() -> None:
    calls, simulator = MemoryCalls(), Lengths(per_call=1)
    own = [Task("e1", "alpha", (1, 1), "test", tuple(range(100)))]
    with pytest.raises(Interrupted):
        simulations(simulator, own, calls, SilentProgress(fail_at=70))
    answered = len(calls.answers)
    assert 64 <= answered < 128
    table = simulations(simulator, own, calls)
    assert len(simulator.asked) <= 100 + 64
    assert table["sequence_id"].to_list() == list(range(100))
    asked = len(simulator.asked)
    assert simulations(simulator, own, calls).equals(table)
    assert len(simulator.asked) == asked


def test_readings_of_another_length_are_refused_and_not_stored() -> None:
    calls = MemoryCalls()
    with pytest.raises(LLMError, match=r"lengths 1: read \[2\] tokens of sequences with \[3\]"):
        simulations(Lengths(missing=1), [Task("e1", "alpha", (1, 1), "test", (3,))], calls)
    assert calls.answers == {}


class Answers(Lengths):
    """Gives one reading whatever it is asked."""

    def __init__(self, reading: Simulated) -> None:
        super().__init__(per_call=1)
        self._reading = reading

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        self.asked.append((explanation, len(sequences)))
        return [self._reading]


NAN = float("nan")


def test_a_reading_without_a_value_is_a_row_with_its_status_and_what_it_took() -> None:
    partly = Simulated((NAN, 1.0, 2.0), 0.0, "unparsable", Usage(7, 2, 1, 0.5), "x", unmatched_words=4)
    table = simulations(Answers(partly), [Task("e1", "alpha", (1, 1), "test", (3,))])

    assert table["simulated"][0].is_nan().to_list() == [True, False, False]
    assert table.select("status", "unmatched_words", "prompt_tokens", "cost_usd").rows() == [
        ("unparsable", 4, 7, 0.5)
    ]


@pytest.mark.parametrize(
    ("status", "times"), [("ok", 1), ("unparsable", 1), ("refused", 1), ("truncated", 1), ("failed", 2)]
)
def test_only_what_failed_is_asked_again(status: ReadingStatus, times: int) -> None:
    calls, simulator = MemoryCalls(), Answers(Simulated((NAN, NAN, NAN), None, status))
    own = [Task("e1", "alpha", (1, 1), "test", (3,))]

    first, second = simulations(simulator, own, calls), simulations(simulator, own, calls)

    assert first["status"].to_list() == second["status"].to_list() == [status]
    assert len(simulator.asked) == times


def test_tasks_of_one_text_adjoin_even_where_several_neurons_are_explained_by_it() -> None:
    again = explanation((3, 1), "alpha")
    texts = [task.text for task in tasks([ALPHA, BETA, again])]

    assert texts == sorted(texts)
    assert texts.count("alpha") > 4


def test_the_sequences_of_an_explanation_are_asked_about_one_after_the_other() -> None:
    simulator = Lengths(per_call=1)
    own = [
        Task("e1", "alpha", (1, 1), "test", (3, 4)),
        Task("e1", "alpha", (1, 1), "valid", (5,)),
        Task("e2", "the second", (2, 1), "test", (3, 6)),
    ]
    simulations(simulator, own)

    assert [text for text, _ in simulator.asked] == ["alpha"] * 3 + ["the second"] * 2
