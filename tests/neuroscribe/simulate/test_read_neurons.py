"""A dear simulator reads the explanations of a few neurons a layer, and scores no others."""

import polars as pl

from neuroscribe.simulate.questions import simulation_tasks
from tests.neuroscribe.score.known_layer import NEURONS, Layer, explained, known_study

READS = 3


def layer(**settings: object) -> Layer:
    study = known_study(
        explainers={"token_pairs": {}},
        simulators={"all_at_once": {"explainers": ["token_pairs"], **settings}},
        scoring={"sequences": 10, "sequences_per_split": 5},
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
    assert layer(layers=[1]).scores().is_empty()
    named = simulation_tasks(layer(layers=[1, 0]).evidence(), "all_at_once")
    assert named == simulation_tasks(layer().evidence(), "all_at_once")
    few = simulation_tasks(layer(layers=[0], neurons_per_layer=READS).evidence(), "all_at_once")
    assert few == simulation_tasks(layer(neurons_per_layer=READS).evidence(), "all_at_once")


def test_neurons_that_a_simulator_does_not_read_have_no_score_of_it():
    scores = layer(neurons_per_layer=READS).scores()
    assert scores.filter(pl.col("scorer") == "correlation_all_at_once")["neuron"].n_unique() == READS
