"""Controls of simulators that ask: three of every neuron, and ten where none of these is as good."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from scipy.stats import t

from neuroscribe.evidence.controls import controls
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.simulate.questions import questions, simulation_tasks
from neuroscribe.testing.rows import explanation_row
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from tests.neuroscribe.score.known_layer import (
    NEURONS,
    Layer,
    Reading,
    explained,
    known_study,
    only,
    pearson,
    read,
    truth,
    unseen,
)

ALPHA, BETA, GAMMA = ((n, 1) for n in (1, 2, 3))


def texts(*named: tuple[Neuron, str], **given: object) -> list[dict[str, object]]:
    return [
        explanation_row(neuron, text=text, polarity=side, explanation_id=f"e{neuron}{side:+}", **given)
        for (neuron, side), text in named
    ]


def drawn(rows: list[dict[str, object]], *, count: int = 10, seed: str = "") -> dict[Neuron, set[str]]:
    found = controls(rows, lambda *_: True, count=count, seed=seed)
    return {neuron: {each["explanation_id"] for each in own} for neuron, own in found.items()}


def test_controls_are_the_explanations_of_other_neurons_whose_texts_differ() -> None:
    rows = texts((ALPHA, "alpha"), (BETA, "alpha"), (GAMMA, "gamma"), ((4, 1), "gamma"))
    found = drawn(rows)
    assert found[ALPHA] in ({"e3+1"}, {"e4+1"})
    assert found[GAMMA] in ({"e1+1"}, {"e2+1"})


def test_the_other_side_of_a_neuron_is_no_control() -> None:
    assert drawn(texts((ALPHA, "alpha"), ((1, -1), "minus"), (BETA, "beta"))) == {
        (1, 1): {"e2+1"},
        (1, -1): {"e2+1"},
        (2, 1): drawn(texts((ALPHA, "alpha"), ((1, -1), "minus"), (BETA, "beta")))[2, 1],
    }


def test_of_candidates_the_first_is_held_against_others() -> None:
    second = explanation_row(1, 1, text="more", explanation_id="second")
    assert drawn([*texts((ALPHA, "alpha")), second, *texts((BETA, "beta"))])[BETA] == {"e1+1"}


def test_what_an_explainer_has_seen_is_asked_of_each_pair() -> None:
    rows = texts((ALPHA, "alpha"), (BETA, "beta"), (GAMMA, "gamma"))
    found = controls(rows, lambda other, own: (other["neuron"], own) != (2, ALPHA), count=10, seed="")
    assert [each["explanation_id"] for each in found[ALPHA]] == ["e3+1"]
    assert len(found[GAMMA]) == 2


def test_a_draw_depends_on_its_seed_and_on_nothing_else() -> None:
    rows = texts(*(((n, 1), f"text {n}") for n in range(40)))
    one, again, other = drawn(rows), drawn(rows[::-1]), drawn(rows, seed="other")
    assert {len(found) for found in one.values()} == {10}
    assert one == drawn(rows)
    assert one != other
    assert again.keys() == one.keys()


def test_one_text_for_all_neurons_has_no_control() -> None:
    assert drawn(texts((ALPHA, "alpha"), (BETA, "alpha"))) == {}
    assert drawn([]) == {}


TEXTS = {n: f"{n} 0.1" for n in range(NEURONS)} | {5: "-5 0.1"}
"""All are right but that of neuron 5, which says the opposite, so that any other is as good."""
LAYER = Layer([explained(neuron, text) for neuron, text in TEXTS.items()])


@pytest.fixture(scope="module")
def simulations() -> pl.DataFrame:
    return LAYER.simulated()


def held(simulations: pl.DataFrame, neuron: int) -> list[str]:
    own = simulations.filter(pl.col("neuron") == neuron, pl.col("explanation_id") != f"e{neuron}0")
    return own["explanation_id"].unique(maintain_order=True).to_list()


def test_three_controls_are_asked_where_one_of_them_is_as_good_and_else_all_ten(
    simulations: pl.DataFrame,
) -> None:
    assert {n: len(held(simulations, n)) for n in range(NEURONS)} == dict.fromkeys(range(NEURONS), 10) | {
        5: 3
    }
    first = LAYER.evidence().controls("token_pairs", count=10)[5, 1][:3]
    assert set(held(simulations, 5)) == {row["explanation_id"] for row in first}


def test_calls_are_made_for_no_more_and_the_plan_knows_the_most() -> None:
    simulator, progress = Reading(), SilentProgress()
    layer = Layer(LAYER.explanations, simulators={"all_at_once": simulator})
    rows = layer.simulated(progress=progress)
    assert len(simulator.asked) == len(set(simulator.asked))
    assert set(simulator.asked) == {
        (TEXTS[int(name[1:-1])], own) for name, own in rows.select("explanation_id", "sequence_id").rows()
    }
    (done,), (total,) = progress.done.values(), progress.totals.values()
    assert done == total
    assert progress.notes.count("controls not needed") == 1
    most = {(each.text, each.sequences) for each in questions(LAYER.evidence(), "all_at_once")}
    assert len(set(simulator.asked)) < len(most)


def test_controls_are_read_on_one_top_and_all_random_exemplars(simulations: pl.DataFrame) -> None:
    shown = LAYER.evidence().control_exemplars(LAYER.explanations[1])
    assert shown.kinds == ("top", "random", "random")
    for name in held(simulations, 1):
        rows = simulations.filter(neuron=1, explanation_id=name)
        assert rows["sequence_id"].to_list() == list(shown.sequence_ids)
        assert rows["stratum"].null_count() == len(rows)


def test_controls_are_estimated_by_weight_and_ranked_on_the_same_exemplars_alike(
    simulations: pl.DataFrame,
) -> None:
    evidence = LAYER.evidence(simulations=simulations)
    ids = list(evidence.control_exemplars(LAYER.explanations[1]).sequence_ids)
    population = unseen(LAYER.explanations[1])
    top = round(20 * len(population) / 300)
    weights = np.array([top, *[(len(population) - top) / 2] * 2])

    def compared(text: str, weights: np.ndarray | None = None) -> float:
        return pearson(truth(1)[ids], np.array([read(text, own) for own in ids]), weights)

    texts = [TEXTS[int(name[1:-1])] for name in held(simulations, 1)]
    row = only(LAYER.scores(simulations), "e10")
    estimated = [compared(text, weights) for text in texts]
    assert (row["n_controls"], row["control"]) == (10, pytest.approx(np.mean(estimated)))
    others = [compared(text) for text in texts]
    distance = (compared(TEXTS[1]) - np.mean(others)) / (np.std(others, ddof=1) * np.sqrt(1.1))
    assert row["p"] == pytest.approx(min(1 / 11, t.sf(distance, 9)))
    beaten = only(LAYER.scores(simulations), "e50")
    assert (beaten["n_controls"], beaten["p"]) == (3, 1.0)


def test_the_papers_regimes_have_the_same_controls_weighted_alike(simulations: pl.DataFrame) -> None:
    evidence = LAYER.evidence(simulations=simulations)
    ids = list(evidence.control_exemplars(LAYER.explanations[1]).sequence_ids)
    others = [
        pearson(truth(1)[ids], np.array([read(TEXTS[int(name[1:-1])], own) for own in ids]))
        for name in held(simulations, 1)
    ]
    row = only(LAYER.scores(simulations), "e10", regime="top_and_random")
    assert (row["n_controls"], row["control"]) == (10, pytest.approx(np.mean(others)))


def test_a_killed_run_asks_for_the_same_controls() -> None:
    calls = MemoryCalls()
    layer = Layer(LAYER.explanations[:6])
    whole = layer.simulated()
    with pytest.raises(Interrupted):
        layer.simulated(calls, SilentProgress(fail_at=150))
    assert layer.simulated(calls).equals(whole)


def test_candidates_share_the_controls_of_their_neuron_and_all_must_be_beaten() -> None:
    # The second candidate is right: a control that is as good as the first says nothing.
    rows = [*LAYER.explanations, explained(5, "5 0.1", 1)]
    study = known_study(explainers={"token_pairs": {"candidates": 2}})
    simulations = Layer(rows, study).simulated()
    assert len(held(simulations.filter(pl.col("explanation_id") != "e51"), 5)) == 10
    tasks = simulation_tasks(Layer(rows, study).evidence(), "all_at_once")
    assert Counter(task.split for task in tasks if task.turn is not None).keys() == {"test"}
