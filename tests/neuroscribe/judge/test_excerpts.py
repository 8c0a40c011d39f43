from collections.abc import Sequence

import numpy as np
import pytest

from neuroscribe.evidence.exemplars import Exemplars
from neuroscribe.judge.excerpts import FIRES, Excerpt, Negatives, marked_excerpts, plain_excerpts

LENGTH = 8
RANDOM_ONLY = Negatives(same_token=False, nearest=None)


def exemplars(top: int = 4, random: int = 4, tokens: int = 32) -> Exemplars:
    """Top sequences peak once, at different places; random ones hardly stir. All tokens differ but 7."""
    truth = np.full((top + random, tokens), 0.01)
    for place in range(top):
        truth[place, (5 * place) % tokens] = 10.0 - place
    kinds = ("top",) * top + ("random",) * random
    return Exemplars(tuple(range(100, 100 + top + random)), kinds, truth)


def token_ids(own: Exemplars, hard: Sequence[tuple[int, int]] = ()) -> list[list[int]]:
    """Token 7 at every peak, and at the `hard` places (exemplar, position); 1000 and more elsewhere."""
    ids = np.arange(own.truth.size).reshape(own.truth.shape) + 1000
    for place, kind in enumerate(own.kinds):
        if kind == "top":
            ids[place, own.truth[place].argmax()] = 7
    for place, position in hard:
        ids[place, position] = 7
    return ids.tolist()


def drawn(
    own: Exemplars, negatives: Negatives = RANDOM_ONLY, seed: str = "0", **tokens: object
) -> list[Excerpt]:
    ids = token_ids(own, **tokens)
    return plain_excerpts(own, ids, length=LENGTH, negatives=negatives, seed=seed)


def test_as_many_silent_excerpts_as_firing_ones_are_drawn_and_each_is_what_it_says() -> None:
    own = exemplars()
    found = drawn(own)
    limit = FIRES * 7.0  # the smallest peak
    assert [one.label for one in found] == [True] * 4 + [False] * 4
    for one in found:
        truth = own.truth[own.sequence_ids.index(one.sequence_id), one.start : one.stop]
        assert one.stop - one.start == LENGTH
        assert (truth.max() >= 7.0) if one.label else (truth.max() <= limit)


def test_silent_excerpts_come_from_different_sequences_as_long_as_there_are_any() -> None:
    found = [one for one in drawn(exemplars()) if not one.label]
    assert len({one.sequence_id for one in found}) == 4
    assert {one.kind for one in found} == {"random"}
    assert len([one for one in drawn(exemplars(top=8, random=3, tokens=64)) if not one.label]) == 8


def test_no_two_silent_excerpts_share_a_token() -> None:
    found = [one for one in drawn(exemplars(top=8, random=3, tokens=64)) if not one.label]
    assert not any(one.overlaps(other) for one in found for other in found if one is not other)


def test_excerpts_with_a_peaks_token_where_the_neuron_is_silent_are_found() -> None:
    own = exemplars()
    found = drawn(own, Negatives(same_token=True, nearest=None), hard=[(5, 20), (6, 3)])
    hard = [one for one in found if one.kind == "same_token"]
    assert {one.sequence_id for one in hard} == {105, 106}
    assert all(one.start <= {105: 20, 106: 3}[one.sequence_id] < one.stop for one in hard)
    assert [one.label for one in found].count(False) == 4


def test_what_is_missing_of_a_hard_kind_is_filled_up_at_random() -> None:
    found = drawn(exemplars(), Negatives(same_token=True, nearest=None))
    assert [one.kind for one in found if not one.label] == ["random"] * 4


def test_the_nearest_silent_excerpts_are_taken_in_their_order() -> None:
    def nearest(silent: Sequence[Excerpt], firing: Sequence[Excerpt]) -> list[Excerpt]:
        assert [one.label for one in firing] == [True] * 4
        return sorted(silent, key=lambda one: (-one.sequence_id, one.start))

    found = drawn(exemplars(), Negatives(same_token=False, nearest=nearest))
    near = [one for one in found if one.kind == "near_text"]
    assert [(one.sequence_id, one.start) for one in near] == [(107, 0), (106, 0)]
    assert not any(one.label for one in near)


def test_the_peak_stands_anywhere_in_an_excerpt() -> None:
    own = exemplars(top=1, tokens=64)
    own.truth[0] = 0.0
    own.truth[0, 30] = 5.0
    places = {30 - drawn(own, seed=str(seed))[0].start for seed in range(60)}
    assert places == set(range(LENGTH))


def test_the_draw_follows_from_the_seed() -> None:
    own = exemplars(tokens=64)
    assert drawn(own, seed="a") == drawn(own, seed="a") != drawn(own, seed="b")


def test_a_neuron_that_fires_everywhere_has_no_silent_excerpts_and_one_that_never_does_none_at_all() -> None:
    own = exemplars()
    everywhere = Exemplars(own.sequence_ids, own.kinds, np.ones_like(own.truth))
    assert {one.label for one in drawn(everywhere)} == {True}
    assert drawn(Exemplars(own.sequence_ids, own.kinds, np.zeros_like(own.truth))) == []


def test_excerpts_are_numbered_within_their_sequence() -> None:
    own = exemplars(top=8, random=1, tokens=64)
    found = drawn(own)
    assert len({(one.sequence_id, one.item) for one in found}) == len(found)


def test_a_short_sequence_is_one_excerpt() -> None:
    found = drawn(exemplars(tokens=6))
    assert {(one.start, one.stop) for one in found} == {(0, 6)}


def test_firing_tokens_are_marked_and_as_many_others() -> None:
    own = exemplars(top=2, random=0)
    own.truth[0, 1] = 3.5  # above 0.3 x 10
    own.truth[0, 2] = 2.9
    right, wrong, *others = marked_excerpts(own, length=LENGTH, seed="0")
    assert (right.sequence_id, right.item, right.label, right.kind) == (100, 0, True, "firing")
    assert (wrong.sequence_id, wrong.item, wrong.label, wrong.kind) == (100, 1, False, "other_tokens")
    assert right.marked == (0, 1)
    assert len(wrong.marked) == 2
    assert set(wrong.marked).isdisjoint(right.marked)
    assert (right.start, right.stop) == (wrong.start, wrong.stop)
    assert all(right.start <= token < right.stop for token in wrong.marked)
    assert len(others) == 2


def test_wrong_marks_stand_at_other_places_for_other_neurons() -> None:
    own = exemplars(top=1, random=0)
    places = {marked_excerpts(own, length=LENGTH, seed=str(seed))[1].marked for seed in range(20)}
    assert len(places) > 3


@pytest.mark.parametrize("firing", [5, 8])
def test_an_excerpt_with_too_few_silent_tokens_is_not_marked(firing: int) -> None:
    own = exemplars(top=1, random=0, tokens=LENGTH)
    own.truth[0, :firing] = 9.0
    assert marked_excerpts(own, length=LENGTH, seed="0") == []
