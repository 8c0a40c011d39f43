"""Recognisable neurons: who is in the urn, and that none of the random sample is."""

from typing import Any

import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.sample import recognisable_neurons, sampled_neurons
from neuroscribe.study.spec import Study
from neuroscribe.tables.predictability import PREDICTABILITY
from neuroscribe.tables.records import STATISTICS
from neuroscribe.testing.rows import filled
from neuroscribe.testing.studies import tiny_study

NEURONS = 100


def study(**sample: Any) -> Study:
    usual = {"neurons_per_layer": 2, "recognisable": 3, "polarity": "stronger"}
    return tiny_study(
        subject={"neurons_per_layer": NEURONS}, capture={"polarities": "both"}, sample=usual | sample
    )


def statistics(**given: Any) -> pl.DataFrame:
    rows = [{"neuron": n, "min": -1.0, "max": 2.0} | given for n in range(NEURONS)]
    return filled(STATISTICS, *rows)


def predicted(values: dict[int, float | None], polarity: int = 1) -> pl.DataFrame:
    rows = [
        {"neuron": n, "polarity": side, "predicted": values.get(n, 0.1) if side == polarity else 0.99}
        for n in range(NEURONS)
        for side in (1, -1)
    ]
    return filled(PREDICTABILITY, *rows)


def test_they_are_drawn_by_seed_among_the_twentieth_that_tokens_predict_best():
    values: dict[int, float | None] = {n: 0.6 + n / 1000 for n in range(10)} | {50: None}
    found = recognisable_neurons(study(), 0, statistics(), predicted(values))
    assert len(found) == 3
    # Of a hundred sides that would be explained, five are the foremost.
    assert set(found) <= {(n, 1) for n in range(5, 10)}
    assert found == recognisable_neurons(study(), 0, statistics(), predicted(values))
    others = [recognisable_neurons(study(seed=seed), 0, statistics(), predicted(values)) for seed in range(9)]
    assert len(set(others)) > 1


def test_none_is_recognisable_whose_tokens_do_not_predict_it():
    assert recognisable_neurons(study(), 0, statistics(), predicted({1: 0.59, 2: 0.5})) == ()
    assert recognisable_neurons(study(), 0, statistics(), predicted({1: 0.61})) == ((1, 1),)


def test_the_random_sample_is_as_without_them_and_is_not_in_the_urn():
    sample = sampled_neurons(study(), 0, statistics())
    assert sample == sampled_neurons(study(recognisable=0), 0, statistics())
    taken = {neuron: 0.9 for neuron, _ in sample}
    assert recognisable_neurons(study(), 0, statistics(), predicted(dict(taken))) == ()


def test_dead_neurons_and_sides_that_would_not_be_explained_are_not_in_the_urn():
    dead = statistics(dead=True)
    assert recognisable_neurons(study(), 0, dead, predicted({1: 0.9})) == ()
    # The other side is larger, and all of its neurons have .99 there.
    both = recognisable_neurons(study(polarity="both"), 0, statistics(), predicted({}))
    assert {side for _, side in both} == {-1}


def test_a_layer_tells_how_each_of_its_neurons_was_drawn_and_explains_none_of_these_again():
    tables = {"activations/statistics": statistics(), "predictability": predicted({1: 0.9, 2: 0.8})}
    evidence = LayerEvidence(study().model_copy(), 0, tables)
    random = sampled_neurons(study(), 0, statistics())
    assert evidence.neurons == (*random, (1, 1), (2, 1))
    drawn = [evidence.drawn_as(neuron) for neuron in evidence.neurons]
    assert drawn == ["random", "random", "recognisable", "recognisable"]
    again = tiny_study(
        subject={"neurons_per_layer": NEURONS}, capture={"polarities": "both"},
        sample={"neurons_per_layer": 2, "recognisable": 3, "polarity": "stronger"},
        scoring={"stability_neurons": 9},
    )  # fmt: skip
    assert LayerEvidence(again, 0, tables).redrawn_neurons == random
