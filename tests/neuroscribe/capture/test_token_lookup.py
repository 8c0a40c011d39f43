import numpy as np
import polars as pl
import pytest
import torch

from neuroscribe.capture import CapturePlan, kernel
from neuroscribe.capture.state import LOOKUP_UNIT, empty_state
from neuroscribe.capture.token_lookup import token_lookup
from neuroscribe.errors import CaptureError
from neuroscribe.evidence.lookup import extreme_tokens, looked_up
from neuroscribe.tables.records import TOKEN_LOOKUP
from neuroscribe.testing.rows import filled

TOKENS = torch.tensor([[7, 3], [3, 9], [7, 7], [3, 3], [5, 3], [7, 8]])
RANDOM_IDS = (5,)
SILENT, OWN = 0, 1
"""Neurons; the lookup tables are of neuron 1."""


def lookup(activations: torch.Tensor, polarities: tuple[int, ...], k: int = 1) -> pl.DataFrame:
    """The table of a neuron with these activations [sequence, token], beside one that is silent."""
    values = torch.stack([torch.zeros(TOKENS.shape), activations.float()], dim=2)
    plan = CapturePlan(k, polarities, RANDOM_IDS, {4: (OWN,)})
    state = empty_state(plan, layer=4, neurons=2, tokens=2, vocabulary=5)
    kernel.take(state, values, range(len(values)), plan)
    places = torch.unique(TOKENS, return_inverse=True)[1]
    for sequence in range(5):
        for token in (0, 1):
            value = float(values[sequence, token, OWN])
            for side, polarity in enumerate(polarities):
                kept = max(0.0, polarity * value) if len(polarities) > 1 else value
                state.lookup_sum[places[sequence, token], side] += round(kept / LOOKUP_UNIT)
    return token_lookup(state, 4, plan, TOKENS)


def means(table: pl.DataFrame, polarity: int = 1) -> dict[int, tuple[int, float]]:
    own = table.filter(pl.col("polarity") == polarity)
    return {
        token: (count, mean) for token, count, mean in own.select("token_id", "count", "mean").iter_rows()
    }


def test_means_leave_out_random_and_top_sequences() -> None:
    activations = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 90], [-1, 0], [50, 60]])
    table = lookup(activations, (1,))
    # Sequence 5 is random and 3 the neuron's top one: what is left is 0, 1, 2 and 4.
    assert means(table) == {3: (3, pytest.approx(5 / 3)), 5: (1, -1.0), 7: (3, 4.0), 9: (1, 4.0)}
    assert table["neuron"].unique().to_list() == [OWN]
    assert table["token_id"].is_sorted()


def test_a_random_sequence_among_the_top_ones_is_not_taken_out_twice() -> None:
    activations = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8], [-1, 0], [99, 60]])
    # Sequence 5 is random and the top one; 3, second to it, is out as well.
    assert means(lookup(activations, (1,), k=2))[7] == (3, 4.0)
    assert means(lookup(activations, (1,), k=2))[3] == (3, pytest.approx(5 / 3))


def test_both_sides_leave_out_the_top_sequences_of_either() -> None:
    activations = torch.tensor([[1, -2], [3, 4], [5, -6], [7, 90], [-80, 0], [50, 60]])
    table = lookup(activations, (1, -1))
    # Top of the positive side is 3, of the negative 4: what is left is 0, 1 and 2.
    assert means(table) == {3: (2, 1.5), 7: (3, 2.0), 9: (1, 4.0)}
    assert means(table, -1) == {3: (2, 1.0), 7: (3, 2.0), 9: (1, 0.0)}
    assert table["polarity"].to_list() == [1, 1, 1, -1, -1, -1]


def test_a_sequence_that_is_top_on_both_sides_is_taken_out_once() -> None:
    activations = torch.tensor([[0, 0], [0, 0], [1, 1], [-90, 90], [0, 0], [0, 0]])
    assert means(lookup(activations, (1, -1)))[7] == (3, pytest.approx(2 / 3))
    assert means(lookup(activations, (1, -1)))[3] == (3, 0.0)


def test_a_token_that_only_excluded_sequences_hold_has_no_mean() -> None:
    activations = torch.tensor([[0, 0], [0, 0], [0, 0], [0, 0], [9, 0], [0, 0]])
    assert set(means(lookup(activations, (1,)))) == {3, 7, 9}  # 5 is in the top one, 8 in the random one


def test_activations_that_a_table_could_not_hold_are_refused() -> None:
    activations = torch.zeros(6, 2)
    activations[1, 0] = 2.0**28
    with pytest.raises(CaptureError, match=r"layer 4, neuron 1: activations up to 2.68e\+08 over 5 occurr"):
        lookup(activations, (1,))


def test_rounding_leaves_no_mean_where_nothing_is_left() -> None:
    activations = torch.zeros(6, 2)
    activations[1, 0], activations[3, 0] = 1.0, 2.0**-30 / 3  # their sum needs more bits than fp64 has
    assert (1.0 + float(activations[3, 0])) - 1.0 - float(activations[3, 0]) != 0
    assert means(lookup(activations, (1, -1), k=2))[3] == (1, 0.0)  # of sequence 4


def table(pairs: dict[int, tuple[int, float]]) -> pl.DataFrame:
    return filled(
        TOKEN_LOOKUP,
        *({"token_id": token, "count": count, "mean": mean} for token, (count, mean) in pairs.items()),
    )


def test_a_table_is_read_at_each_token_and_unknown_ones_get_the_mean_of_all_occurrences() -> None:
    own = table({3: (3, 1.0), 7: (1, 5.0)})
    read = looked_up(own, np.array([[7, 3], [1, 5], [99, 7]]))
    assert read.tolist() == [[5.0, 1.0], [2.0, 2.0], [2.0, 5.0]]


def test_the_extreme_tokens_are_those_with_the_largest_and_smallest_means() -> None:
    own = table({3: (5, 1.0), 4: (9, -2.0), 5: (4, 99.0), 6: (7, 0.5), 7: (5, 0.5)})
    found = extreme_tokens(own, count=2, at_least=5)
    assert found.select("token_id", "end").rows() == [(3, "top"), (6, "top"), (4, "bottom"), (6, "bottom")]
    assert found["mean"].to_list() == [1.0, 0.5, -2.0, 0.5]


def test_an_empty_table_gives_nan() -> None:
    assert np.isnan(looked_up(table({}), np.array([[1, 2]]))).all()
