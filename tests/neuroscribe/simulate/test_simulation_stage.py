import asyncio
from collections.abc import Sequence

import polars as pl
import pytest

from neuroscribe.errors import LLMError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.replies import ReadingStatus, Simulated, Usage
from neuroscribe.simulate.questions import Task, simulation_tasks
from neuroscribe.simulate.stage import simulated
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS, SIMULATIONS
from neuroscribe.testing.rows import explanation_row, sequence_table, vocabulary_table
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from tests.neuroscribe.score.known_layer import DOCUMENTS, HELD_OUT, Layer, explained, known_study

ALPHA, BETA, GAMMA = (explained(neuron, f"{neuron} 0.0") for neuron in (1, 2, 3))


def tasks(*rows: dict[str, object], study: Study | None = None) -> list[Task]:
    return simulation_tasks(Layer(rows, study or known_study()).evidence(), "all_at_once")


def own(found: list[Task], of: str = "e10", split: str = "test") -> list[Task]:
    return [task for task in found if (task.explanation_id, task.split, task.turn) == (of, split, None)]


def test_an_explanation_is_simulated_on_the_papers_exemplars_then_on_the_draws_that_are_left() -> None:
    evidence = Layer([ALPHA]).evidence()
    shown, draws = evidence.paper_exemplars(ALPHA, "test"), evidence.draws(ALPHA, "test")
    drawn = evidence.population(ALPHA, "test").sequence_ids[draws.places].tolist()
    top, random, rest = tasks(ALPHA)
    assert (top.sequence_ids, random.sequence_ids) == (shown.sequence_ids[:2], shown.sequence_ids[2:])
    assert rest.sequence_ids == tuple(sequence for sequence in drawn if sequence not in shown.sequence_ids)
    assert [task.is_drawn for task in (top, random, rest)] == [False, False, True]
    # Exemplars that were drawn serve both; the top ones are drawn before others.
    assert len(drawn) == 20 > len(rest.sequence_ids)
    assert set(top.sequence_ids) <= set(drawn) == top.strata.keys()
    assert rest.strata == dict(zip(drawn, zip(draws.strata, draws.sizes, strict=True), strict=True))


def test_a_simulator_that_costs_nothing_is_asked_about_the_papers_exemplars_alone() -> None:
    study = known_study(simulators={"token_match": {"explainers": ["token_pairs"]}})
    evidence = Layer([ALPHA], study).evidence()
    found = simulation_tasks(evidence, "token_match")
    assert [task.sequence_ids for task in found] == [
        evidence.paper_exemplars(ALPHA, "test").sequence_ids[part] for part in (slice(2), slice(2, 4))
    ]
    assert not any(task.strata for task in found)


def test_candidates_are_simulated_on_valid_too_and_the_controls_are_not() -> None:
    study = known_study(explainers={"token_pairs": {"candidates": 2}})
    found = tasks(ALPHA, explained(1, "1 1.0", 1), BETA, study=study)
    for name in ("e10", "e11", "e20"):
        assert [task.is_drawn for task in own(found, name, "valid")] == [False, False, True]
    assert {task.split for task in found if task.turn is not None} == {"test"}


@pytest.mark.parametrize("candidates", [1, 2])
def test_where_values_are_fitted_on_valid_each_sequence_is_still_asked_about_once(candidates: int) -> None:
    study = known_study(
        scoring={"calibration": "linear", "sequences": 100},
        explainers={"token_pairs": {"candidates": candidates}},
    )
    layer = Layer([ALPHA], study)
    shown = layer.evidence().paper_exemplars(ALPHA, "valid").sequence_ids
    rows = layer.simulated()
    assert set(shown) <= set(rows["sequence_id"])
    assert SIMULATIONS.checked(rows)["sequence_id"].is_unique().all()
    assert rows.filter(split="test")["stratum"].drop_nulls().len() == 100


def test_a_table_explainers_values_are_fitted_on_other_documents_than_they_are_scored_on() -> None:
    explainers = {"token_list": {}}
    study = known_study(scoring={"calibration": "linear"}, explainers=explainers)
    row = explained(1, "1 0.0", explainer="token_list", sequence_ids=[])
    layer = Layer([row], study)
    valid, test = (layer.evidence().paper_exemplars(row, split).sequence_ids for split in ("valid", "test"))
    documents = [{DOCUMENTS[sequence] for sequence in ids} for ids in (valid, test)]
    assert (len(valid), len(test)) == (4, 4)
    assert documents[0].isdisjoint(documents[1])
    assert documents[0] | documents[1] <= HELD_OUT
    assert layer.simulated()["sequence_id"].is_unique().all()


def test_nothing_is_simulated_of_a_document_that_the_explainer_saw() -> None:
    found = tasks(ALPHA, BETA, GAMMA, study=known_study(explainers={"token_pairs": {"candidates": 2}}))
    assert {task.turn for task in found} == {None, 0, 1}
    for row in (ALPHA, BETA, GAMMA):
        simulated = {
            DOCUMENTS[sequence]
            for task in found
            if task.explanation_id == row["explanation_id"]
            for sequence in task.sequence_ids
        }
        assert simulated.isdisjoint(DOCUMENTS[sequence] for sequence in row["sequence_ids"])


def test_a_further_draw_of_exemplars_is_simulated_on_its_own_draws_alone() -> None:
    again = explained(1, "1 1.0", explanation_id="again", draw=1)
    (task,) = own(tasks(ALPHA, again), "again")
    assert (task.is_drawn, len(task.sequence_ids)) == (True, 20)
    kinds = ("all_at_once", "token_match")
    beside = known_study(simulators={kind: {"explainers": ["token_pairs"]} for kind in kinds})
    # Where a simulator that costs nothing scores it, no other one is asked.
    assert own(tasks(ALPHA, again, study=beside), "again") == []


def test_explanations_without_a_text_are_not_simulated() -> None:
    refused = explained(2, "", status="refused") | {"text": None}
    assert {task.explanation_id for task in tasks(ALPHA, refused)} == {"e10"}


def test_sequences_near_a_label_are_a_stratum_where_something_tells_which_they_are() -> None:
    evidence = Layer([ALPHA]).evidence()
    kept = evidence.truth((1, 1)).sequence_ids
    near = (kept % 10 == 3).astype(float)
    found = simulation_tasks(evidence, "all_at_once", lambda text: near if text == "1 0.0" else 0 * near)
    strata = own(found)[0].strata
    assert {name for name, _ in strata.values()} == {"top", "near", "high", "low"}
    chosen = [sequence for sequence, (name, _) in strata.items() if name == "near"]
    assert len(chosen) == 6
    assert all(sequence % 10 == 3 for sequence in chosen)


def test_tasks_of_one_text_adjoin_even_where_several_neurons_are_explained_by_it() -> None:
    texts = [task.text for task in tasks(ALPHA, BETA, explained(3, "1 0.0"))]
    assert texts == sorted(texts)
    assert texts.count("1 0.0") > 5


CORPUS = {
    "corpus/sequences": sequence_table([(0, 1, 2 + sequence) for sequence in range(100)]),
    "corpus/vocabulary": vocabulary_table([b"a", b"b", *(str(own).encode() for own in range(100))]),
    "explanations": EXPLANATIONS.frame([explanation_row(n, explanation_id=f"e{n}") for n in (1, 2)]),
}


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
            LayerEvidence(tiny_study(), 0, CORPUS),
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


def test_the_sequences_of_an_explanation_are_asked_about_one_after_the_other() -> None:
    simulator = Lengths(per_call=1)
    own = [
        Task("e1", "alpha", (1, 1), "test", (3, 4)),
        Task("e1", "alpha", (1, 1), "valid", (5,)),
        Task("e2", "the second", (2, 1), "test", (3, 6)),
    ]
    simulations(simulator, own)

    assert [text for text, _ in simulator.asked] == ["alpha"] * 3 + ["the second"] * 2
