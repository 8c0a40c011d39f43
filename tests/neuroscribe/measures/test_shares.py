from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Bool, Int

from neuroscribe.measures.estimate import Estimate
from neuroscribe.measures.shares import auc, balanced_accuracy, share_right

Answers = Bool[np.ndarray, " excerpt"]
DRAWS = 500


def classes(count: int) -> Answers:
    return np.repeat([True, False], count)


def apart(count: int) -> Int[np.ndarray, " excerpt"]:
    return np.arange(2 * count)


def pairs(count: int) -> Int[np.ndarray, " excerpt"]:
    return np.tile(np.arange(count), 2)


def binary_auc(right: Answers, labels: Answers, units: Int[np.ndarray, " excerpt"]) -> Estimate:
    return auc(np.where(right == labels, 0.9, 0.1), labels, units)


def test_the_interval_of_independent_answers_is_that_of_agresti_and_caffo() -> None:
    # 3 of 4 firing and 2 of 5 silent ones right: with one right and one wrong added, 4 of 6 and 3 of 7
    right = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0], dtype=bool)
    labels = np.repeat([True, False], [4, 5])
    found = balanced_accuracy(right, labels, np.arange(9))
    half = 2.2621571628 * np.sqrt(4 / 6 * 2 / 6 / 6 + 3 / 7 * 4 / 7 / 7) / 2
    assert found.value == pytest.approx((3 / 4 + 2 / 5) / 2)
    assert found.ci_low == pytest.approx((4 / 6 + 3 / 7) / 2 - half)
    assert found.ci_high == pytest.approx((4 / 6 + 3 / 7) / 2 + half)


def test_the_interval_of_pairs_is_that_of_bonett_and_price() -> None:
    # Both right in 3 of 5 pairs, both wrong in none: with one of each added, 4 and 1 of 7
    right = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 1], dtype=bool)
    found = balanced_accuracy(right, classes(5), pairs(5))
    difference = 4 / 7 - 1 / 7
    half = 2.5705818356 * np.sqrt((4 / 7 + 1 / 7 - difference**2) / 7) / 2
    assert found.value == pytest.approx(0.8)
    assert found.ci_low == pytest.approx(0.5 + difference / 2 - half)
    assert found.ci_high == pytest.approx(min(1.0, 0.5 + difference / 2 + half))


def test_right_answers_alone_say_little_where_they_are_few() -> None:
    right = np.ones(10, dtype=bool)
    lows = [
        score(right, classes(5), units).ci_low
        for score in (balanced_accuracy, binary_auc)
        for units in (apart(5), pairs(5))
    ]
    assert lows == pytest.approx([0.65, 0.52, 0.55, 0.46], abs=0.01)
    assert all(score(right, classes(5), apart(5)).ci_high == 1 for score in (balanced_accuracy, binary_auc))


def test_answers_that_are_alike_in_every_pair_are_no_more_certain_than_the_pairs_are_many() -> None:
    said_yes = classes(5)  # to all: each pair half right
    found = balanced_accuracy(said_yes, classes(5), pairs(5))
    assert found.value == 0.5
    assert found.ci_low is not None
    assert 0.2 < found.ci_low < 0.3


def test_several_excerpts_of_one_sequence_count_as_one() -> None:
    right, four_each = np.ones(16, dtype=bool), np.arange(16) // 4
    few = np.arange(4)
    for score in (balanced_accuracy, binary_auc):
        together = score(right, classes(8), four_each)
        alone = score(right[:4], classes(2), few)
        assert together.ci_low == pytest.approx(alone.ci_low)


def test_an_interval_never_is_a_point_and_holds_its_value() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        count = int(generator.integers(1, 8))
        labels = classes(count)
        units = generator.integers(0, 6, size=2 * count)
        for score in (balanced_accuracy, binary_auc):
            found = score(generator.random(2 * count) < generator.random(), labels, units)
            assert found.value is not None
            assert found.ci_low is not None
            assert found.ci_high is not None
            assert 0 <= found.ci_low <= found.value <= found.ci_high <= 1
            assert found.ci_high - found.ci_low > 0.05


def test_the_interval_of_an_auc_grows_when_pairs_are_opposed() -> None:
    labels, probabilities = classes(5), np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1, 0.2, 0.3, 0.4, 0.8])
    low = [auc(probabilities, labels, units).ci_low for units in (apart(5), pairs(5))]
    assert low[0] is not None
    assert low[1] is not None
    assert low[1] < low[0] - 0.1


def independent(generator: np.random.Generator, count: int, share: float) -> Answers:
    return generator.random(2 * count) < share


def tied(generator: np.random.Generator, count: int, share: float) -> Answers:
    return np.tile(generator.random(count) < share, 2)


@pytest.mark.parametrize("score", [balanced_accuracy, binary_auc])
@pytest.mark.parametrize(("answers", "units"), [(independent, apart), (independent, pairs), (tied, pairs)])
@pytest.mark.parametrize("count", [5, 10])
def test_the_interval_holds_the_judges_true_share_at_least_as_often_as_it_says(
    score: Callable[..., Estimate],
    answers: Callable[..., Answers],
    units: Callable[[int], Int[np.ndarray, " excerpt"]],
    count: int,
) -> None:
    # An AUC of yes and no with the same share right of both classes is that share, too.
    generator, labels = np.random.default_rng(0), classes(count)
    for share in (0.75, 0.9, 0.95, 1.0):
        found = [score(answers(generator, count, share), labels, units(count)) for _ in range(DRAWS)]
        held = [each.ci_low <= share + 1e-9 and share <= each.ci_high + 1e-9 for each in found]  # pyright: ignore[reportOptionalOperand]
        assert np.mean(held) >= 0.93, (share, np.mean(held))


def test_an_interval_of_a_share_of_questions_worked_by_hand() -> None:
    # Wilson, z = 1.96: 4 of 5 is .376 to .964, 0 of 5 is 0 to .434
    four, none = share_right(4, 5), share_right(0, 5)
    assert (four.value, none.value) == (0.8, 0.0)
    assert (four.ci_low, four.ci_high) == (pytest.approx(0.3755, abs=1e-4), pytest.approx(0.9638, abs=1e-4))
    assert (none.ci_low, none.ci_high) == (0.0, pytest.approx(0.4345, abs=1e-4))
    for right in range(6):
        one = share_right(right, 5)
        assert one.ci_low is not None
        assert one.value is not None
        assert one.ci_high is not None
        assert one.ci_low <= one.value <= one.ci_high
        assert one.ci_high > one.ci_low
