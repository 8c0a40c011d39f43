"""A dear simulator reads the explanations of a few neurons a layer, and scores no others."""

from collections.abc import Mapping

import polars as pl
import pytest

from neuroscribe.simulate.questions import reads_again, simulation_tasks
from tests.neuroscribe.score.known_layer import NEURONS, Layer, explained, known_study

READS = 3


def layer(scorers: Mapping[str, object] | None = None, **settings: object) -> Layer:
    study = known_study(
        scorers=scorers or {},
        explainers={"token_pairs": {}},
        simulators={
            "all_at_once": {"explainers": ["token_pairs"], **settings},
            "everywhere": {"kind": "all_at_once", "explainers": ["token_pairs"]},
        },
        scoring={"sequences": 10, "sequences_per_split": 5, "decides": "everywhere"},
        subject={"layers": 2},
    )
    return Layer([explained(neuron, f"{neuron} 0.0") for neuron in range(NEURONS)], study)


def test_a_simulator_that_reads_few_neurons_is_asked_about_these_and_about_the_controls_held_against_them():
    every = simulation_tasks(layer().evidence(), "all_at_once")
    few = simulation_tasks(layer(neurons_per_layer=READS).evidence(), "all_at_once")
    neurons = {task.neuron for task in few}
    assert len(neurons) == READS
    assert {task.neuron for task in every} > neurons
    wanted = [task for task in every if task.neuron in neurons]
    assert sorted(wanted, key=repr) == sorted(few, key=repr)


def test_the_draw_is_the_same_every_time_and_all_are_read_where_there_are_no_more():
    one, again = (simulation_tasks(layer(neurons_per_layer=READS).evidence(), "all_at_once") for _ in "12")
    assert one == again
    whole = simulation_tasks(layer(neurons_per_layer=1000).evidence(), "all_at_once")
    assert whole == simulation_tasks(layer().evidence(), "all_at_once")


def test_a_simulator_is_asked_nothing_in_layers_that_it_does_not_read():
    assert simulation_tasks(layer(layers=[1]).evidence(), "all_at_once") == []
    scores = layer(layers=[1]).scores()
    assert scores.filter(pl.col("scorer").str.ends_with("all_at_once")).is_empty()
    assert not scores.is_empty()
    named = simulation_tasks(layer(layers=[1, 0]).evidence(), "all_at_once")
    assert named == simulation_tasks(layer().evidence(), "all_at_once")
    few = simulation_tasks(layer(layers=[0], neurons_per_layer=READS).evidence(), "all_at_once")
    assert few == simulation_tasks(layer(neurons_per_layer=READS).evidence(), "all_at_once")


def test_the_order_of_layers_and_a_layer_named_twice_are_no_other_study():
    named = [layer(layers=layers).study.simulators["all_at_once"] for layers in ([1, 0, 1], [0, 1])]
    assert named[0] == named[1]
    assert "layers" not in layer().study.simulators["all_at_once"].model_dump()


def test_what_a_simulator_does_not_read_is_no_failed_ablation():
    ablation = {"ablation": {"simulators": ["all_at_once"]}}
    none, few = (
        layer(scorers=ablation, **dear).scores().filter(scorer="ablation_all_at_once")
        for dear in ({"layers": [1]}, {"neurons_per_layer": READS})
    )
    assert none.is_empty()
    assert few["neuron"].n_unique() == READS


@pytest.mark.parametrize(("layers", "is_asked"), [([1], True), ([0], False), ("all", False)])
def test_what_is_explained_again_is_read_by_the_asked_where_none_that_is_free_reads_the_layer(
    layers: list[int] | str, *, is_asked: bool
):
    lists = {"explainers": ["token_list"]}
    study = known_study(
        explainers={"token_list": {}},
        simulators={
            "asked": {"kind": "all_at_once", **lists},
            "free": {"kind": "token_match", "layers": layers, **lists},
        },
        subject={"layers": 2},
        scoring={"decides": "asked"},
    )
    evidence = Layer([explained(0, "0.0", explainer="token_list")], study).evidence()
    assert reads_again(evidence, "asked", "token_list") == is_asked


def test_neurons_that_a_simulator_does_not_read_have_no_score_of_it():
    scores = layer(neurons_per_layer=READS).scores()
    assert scores.filter(pl.col("scorer") == "correlation_all_at_once")["neuron"].n_unique() == READS
