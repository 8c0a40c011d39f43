"""Sequences drawn by strata: sizes that add up, shares by peak, and nothing that depends on anything else."""

from collections import Counter

import numpy as np
import pytest

from neuroscribe.evidence.drawn import STRATA, Drawn, drawn, strata

GENERATOR = np.random.default_rng(0)
PEAKS = GENERATOR.gamma(0.3, 1.0, 1531)
ORDER = GENERATOR.permutation(1531)
NEARNESS = GENERATOR.random(1531)
BY_RANK = np.argsort(-PEAKS)


def counted(draws: Drawn) -> dict[str, int]:
    return dict(Counter(draws.strata))


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (20, {"top": 5, "high": 6, "middle": 5, "low": 4}),
        (10, {"top": 3, "high": 3, "middle": 2, "low": 2}),
    ],
)
def test_each_stratum_by_peak_gets_its_share_of_the_draws(count: int, shares: dict[str, int]) -> None:
    assert counted(drawn(PEAKS, ORDER, count=count, top=20)) == shares


@pytest.mark.parametrize(
    ("count", "shares"),
    [(20, {"top": 4, "near": 6, "high": 6, "low": 4}), (10, {"top": 2, "near": 3, "high": 3, "low": 2})],
)
def test_with_an_encoder_sequences_near_the_label_are_a_stratum(count: int, shares: dict[str, int]) -> None:
    draws = drawn(PEAKS, ORDER, count=count, top=20, nearness=NEARNESS)
    assert counted(draws) == shares
    near = draws.places[[name == "near" for name in draws.strata]]
    assert NEARNESS[near].min() > 0.85


@pytest.mark.parametrize("nearness", [None, NEARNESS])
def test_the_strata_part_the_population_without_rest(nearness: np.ndarray | None) -> None:
    of = strata(PEAKS, top=20, nearness=nearness)
    draws = drawn(PEAKS, ORDER, count=20, top=20, nearness=nearness)
    sizes = dict(zip(draws.strata, draws.sizes, strict=True))
    assert sum(sizes.values()) == len(PEAKS)
    assert sizes == {name: int((of == STRATA.index(name)).sum()) for name in sizes}
    assert set(np.flatnonzero(of == 0)) == set(BY_RANK[:20])


def test_the_strata_by_peak_end_at_a_tenth_and_at_the_half() -> None:
    of = strata(PEAKS, top=20)
    ranked = [STRATA[index] for index in of[BY_RANK]]
    assert ranked == ["top"] * 20 + ["high"] * (154 - 20) + ["middle"] * (766 - 154) + ["low"] * (1531 - 766)


def test_top_exemplars_that_are_shown_anyway_are_drawn_first() -> None:
    shown = [int(BY_RANK[rank]) for rank in (3, 7, 11, 15, 19)]
    draws = drawn(PEAKS, ORDER, count=20, top=20, first=shown)
    assert {place for place, name in zip(draws.places, draws.strata, strict=True) if name == "top"} == set(
        shown
    )


def test_where_fewer_are_shown_than_the_top_has_draws_others_of_it_follow() -> None:
    shown = [int(BY_RANK[rank]) for rank in (3, 7)]
    draws = drawn(PEAKS, ORDER, count=20, top=20, first=shown)
    tops = [int(place) for place, name in zip(draws.places, draws.strata, strict=True) if name == "top"]
    others = np.delete(BY_RANK[:20], (3, 7))
    assert tops == [*shown, *others[[3, 9, 15]]]


def test_every_beginning_of_the_draws_is_spread_over_the_strata() -> None:
    first = drawn(PEAKS, ORDER, count=20, top=20).strata[:10]
    assert all(2 <= count <= 3 for count in Counter(first).values())
    assert len(set(first)) == 4


def test_what_may_not_be_drawn_still_counts_in_the_sizes() -> None:
    before = drawn(PEAKS, ORDER, count=20, top=20)
    after = drawn(PEAKS, ORDER, count=20, top=20, without=before.places.tolist())
    assert not set(before.places) & set(after.places)
    assert dict(zip(after.strata, after.sizes, strict=True)) == dict(
        zip(before.strata, before.sizes, strict=True)
    )


def test_a_population_smaller_than_the_draws_is_drawn_whole() -> None:
    draws = drawn(PEAKS[:15], np.arange(15), count=20, top=5)
    assert sorted(draws.places) == list(range(15))


def test_silent_sequences_are_told_apart_by_the_order_alone() -> None:
    silent = np.zeros(100)
    silent[:3] = 1.0
    one, other = (
        drawn(silent, order, count=10, top=3).places for order in (np.arange(100), np.arange(100)[::-1])
    )
    assert {0, 1, 2} <= set(one)
    assert {0, 1, 2} <= set(other)
    assert set(one) != set(other)
