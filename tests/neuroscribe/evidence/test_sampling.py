from typing import Any

import polars as pl
import pytest

from neuroscribe.capture.plan import capture_plan, quantile_pools, random_sequences
from neuroscribe.errors import StudyError
from neuroscribe.evidence.sample import candidate_neurons, sampled_neurons, sampled_sequences, set_aside
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import STATISTICS
from neuroscribe.testing.rows import filled
from neuroscribe.testing.studies import tiny_study


def study(*, sample: dict[str, Any] | None = None, capture: dict[str, Any] | None = None) -> Study:
    return tiny_study(
        subject={"layers": 4, "neurons_per_layer": 40},
        capture={"polarities": "both"} | (capture or {}),
        sample={"neurons_per_layer": 3} | (sample or {}),
        explainers={"token_list": {}},
    )


def statistics(
    extremes: dict[int, tuple[float, float]],
    other: tuple[float, float] = (-1.0, 2.0),
    near_dead: tuple[int, ...] = (),
) -> pl.DataFrame:
    """Extremes of some neurons, and of all others."""
    rows = [extremes.get(neuron, other) for neuron in range(40)]
    return filled(
        STATISTICS,
        *(
            {"neuron": neuron, "min": low, "max": high, "dead": low == high == 0}
            | {"near_dead": neuron in near_dead}
            for neuron, (low, high) in enumerate(rows)
        ),
    )


def test_random_sequences_follow_from_the_seed_and_ascend() -> None:
    ids = random_sequences(study())
    assert ids == random_sequences(study())
    assert list(ids) == sorted(set(ids))
    assert len(ids) == 30
    assert set(ids) <= set(range(100))
    other = study().model_copy(update={"corpus": study().corpus.model_copy(update={"seed": 1})})
    assert random_sequences(other) != ids


def test_a_corpus_too_small_for_its_exemplars_is_refused() -> None:
    with pytest.raises(
        StudyError, match=r"100 sequences are too few for top_k = 80 and random_sequences = 30"
    ):
        random_sequences(study(capture={"top_k": 80}))


def test_the_sample_follows_from_seed_and_layer() -> None:
    first = candidate_neurons(study(), 0)
    assert first == candidate_neurons(study(), 0)
    assert first != candidate_neurons(study(), 1)
    assert first != candidate_neurons(study(sample={"seed": 1}), 0)
    assert sorted(first) == list(range(40))


def test_a_larger_sample_begins_with_the_smaller_one() -> None:
    larger = sampled_neurons(study(sample={"neurons_per_layer": 5}), 2, statistics({}))
    assert set(sampled_neurons(study(), 2, statistics({}))) < set(larger)


def test_a_sample_is_complete_however_many_dead_neurons_come_first() -> None:
    order = candidate_neurons(study(), 0)
    dead = dict.fromkeys(order[:37], (0.0, 0.0))
    assert {neuron for neuron, _ in sampled_neurons(study(), 0, statistics(dead))} == set(order[37:])


def test_all_neurons_are_candidates_when_all_are_asked_for() -> None:
    assert candidate_neurons(study(sample={"neurons_per_layer": "all"}), 0) == tuple(range(40))


def test_dead_neurons_give_way_to_the_next_candidates() -> None:
    order = candidate_neurons(study(), 0)
    chosen = sampled_neurons(study(), 0, statistics({order[0]: (0.0, 0.0), order[2]: (0.0, 0.0)}))
    assert chosen == tuple((neuron, 1) for neuron in sorted((order[1], order[3], order[4])))


def test_near_dead_neurons_give_way_too() -> None:
    order = candidate_neurons(study(), 0)
    chosen = sampled_neurons(study(), 0, statistics({}, near_dead=order[:2]))
    assert chosen == tuple((neuron, 1) for neuron in sorted(order[2:5]))


def test_a_neuron_without_anything_on_the_side_asked_for_gives_way_too() -> None:
    order = candidate_neurons(study(), 0)
    chosen = sampled_neurons(study(), 0, statistics({order[0]: (-3.0, 0.0)}))
    assert chosen == tuple((neuron, 1) for neuron in sorted(order[1:4]))


def test_the_stronger_side_is_that_of_the_larger_extreme() -> None:
    own = study(sample={"polarity": "stronger", "neurons_per_layer": "all"})
    chosen = dict(sampled_neurons(own, 0, statistics({0: (-3.0, 2.0), 1: (-2.0, 2.0), 2: (-1.0, 0.0)})))
    assert chosen[0] == -1
    assert chosen[1] == 1
    assert chosen[2] == -1
    assert chosen[3] == 1


def test_a_side_that_never_fires_is_left_out_of_both() -> None:
    own = study(sample={"polarity": "both", "neurons_per_layer": "all"})
    chosen = sampled_neurons(own, 0, statistics({0: (0.0, 1.0), 1: (-1.0, 0.0), 2: (0.0, 0.0)}))
    assert chosen[:4] == ((0, 1), (1, -1), (3, 1), (3, -1))


def test_neurons_passed_over_are_named_with_their_reasons() -> None:
    order = candidate_neurons(study(), 0)
    facts = statistics({order[0]: (0.0, 0.0), order[2]: (-3.0, 0.0)}, near_dead=(order[1], order[9]))
    assert [neuron for neuron, _ in sampled_neurons(study(), 0, facts)] == sorted(order[3:6])
    # The last near-dead one comes after the sample is complete.
    found = {row["neuron"]: row for row in set_aside(study(), 0, facts).iter_rows(named=True)}
    assert found == {
        neuron: {"layer": 0, "neuron": neuron, "polarity": None, "reason": reason}
        for neuron, reason in ((order[0], "dead"), (order[1], "near_dead"), (order[2], "silent"))
    }


def test_the_silent_side_of_a_neuron_is_set_aside_alone() -> None:
    own = study(sample={"polarity": "both", "neurons_per_layer": "all"})
    facts = statistics({0: (0.0, 1.0), 1: (-1.0, 0.0), 2: (0.0, 0.0)})
    rows = set_aside(own, 0, facts).select("neuron", "polarity", "reason").rows()
    assert rows == [(0, -1, "silent"), (1, 1, "silent"), (2, None, "dead")]
    one = study(sample={"polarity": "stronger", "neurons_per_layer": "all"})
    assert set_aside(one, 0, facts)["neuron"].to_list() == [2]


def test_every_neuron_is_either_sampled_or_set_aside_when_all_are_asked_for() -> None:
    own = study(sample={"neurons_per_layer": "all"})
    facts = statistics({3: (0.0, 0.0), 4: (-1.0, 0.0)}, near_dead=(5,))
    explained = [neuron for neuron, _ in sampled_neurons(own, 0, facts)]
    both = explained + set_aside(own, 0, facts)["neuron"].to_list()
    assert sorted(both) == list(range(40))


def test_a_plan_keeps_what_the_study_asks_for() -> None:
    plan = capture_plan(study(sample={"neurons_per_layer": "all"}))
    assert (plan.top_k, plan.polarities, plan.random_ids) == (20, (1, -1), random_sequences(study()))
    assert len(plan.pools) == 2


def test_activations_of_the_sample_are_kept_on_all_sequences_unless_fewer_are_asked_for() -> None:
    assert list(sampled_sequences(study())) == list(range(100))
    assert list(sampled_sequences(study(sample={"sequences": 1000}))) == list(range(100))
    drawn = sampled_sequences(study(sample={"sequences": 10}))
    assert list(drawn) == sorted(set(drawn))
    assert len(drawn) == 10
    assert set(drawn) <= set(range(100))
    assert sampled_sequences(study(sample={"sequences": 10})) == drawn
    assert sampled_sequences(study(sample={"sequences": 10, "seed": 1})) != drawn


def test_pools_reach_into_the_upper_bands_and_leave_the_random_sequences_alone() -> None:
    random_ids = tuple(range(0, 3000, 100))
    wide, narrow = quantile_pools(50_000, random_ids, exemplars=1, seed=3)
    assert (len(wide.sequence_ids), len(narrow.sequence_ids)) == (50, 500)  # five of each above its bound
    assert wide.slots == narrow.slots == 10
    for pool in (wide, narrow):
        assert list(pool.sequence_ids) == sorted(set(pool.sequence_ids))
        assert not set(pool.sequence_ids) & set(random_ids)
    assert quantile_pools(50_000, random_ids, exemplars=1, seed=3) == (wide, narrow)
    assert quantile_pools(50_000, random_ids, exemplars=1, seed=4) != (wide, narrow)


def test_a_pool_of_a_small_corpus_takes_what_there_is() -> None:
    sizes = [len(pool.sequence_ids) for pool in quantile_pools(100, (1, 2), exemplars=2, seed=0)]
    assert sizes == [60, 98]
    assert quantile_pools(100, (1, 2), exemplars=0, seed=0) == ()
