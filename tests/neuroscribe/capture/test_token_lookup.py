"""Mean activation per token, over documents that are not held out."""

import numpy as np
import polars as pl
import pytest

from neuroscribe.capture.token_lookup import shrunken_means, token_lookup
from neuroscribe.tables.records import SAMPLED_ACTIVATIONS
from neuroscribe.testing.rows import sampled_table, sequence_table

SEQUENCES = sequence_table([[7, 3], [3, 9], [7, 7], [5, 8]], documents=[0, 1, 1, 2], held_out=(2,))
ACTIVATIONS = {0: [1.0, -2.0], 1: [3.0, 4.0], 2: [5.0, -6.0], 3: [90.0, 90.0]}


def means(table: pl.DataFrame, polarity: int = 1) -> dict[int, tuple[int, float]]:
    own = table.filter(pl.col("polarity") == polarity)
    return {
        token: (count, mean) for token, count, mean in own.select("token_id", "count", "mean").iter_rows()
    }


def test_held_out_documents_teach_nothing() -> None:
    table = token_lookup(sampled_table(ACTIVATIONS), SEQUENCES, 4, (1,))
    assert means(table) == {3: (2, 0.5), 7: (3, 0.0), 9: (1, 4.0)}
    assert table["token_id"].is_sorted()
    assert set(table["layer"]) == {4}


def test_sequences_that_were_not_kept_teach_nothing() -> None:
    kept = {sequence: ACTIVATIONS[sequence] for sequence in (0, 3)}
    assert means(token_lookup(sampled_table(kept), SEQUENCES, 4, (1,))) == {3: (1, -2.0), 7: (1, 1.0)}


def test_each_side_has_its_own_means() -> None:
    table = token_lookup(sampled_table(ACTIVATIONS), SEQUENCES, 4, (1, -1))
    assert means(table) == {3: (2, 1.5), 7: (3, 2.0), 9: (1, 4.0)}
    assert means(table, -1) == {3: (2, 1.0), 7: (3, 2.0), 9: (1, 0.0)}
    assert table["polarity"].to_list() == [1, 1, 1, -1, -1, -1]


def test_neurons_do_not_mix_and_none_have_no_rows() -> None:
    one, other = sampled_table(ACTIVATIONS), sampled_table({0: [8.0, 9.0]}, neuron=5)
    both = token_lookup(pl.concat([other, one]), SEQUENCES, 4, (1,))
    assert both["neuron"].to_list() == [1, 1, 1, 5, 5]
    assert means(both.filter(pl.col("neuron") == 5)) == {3: (1, 9.0), 7: (1, 8.0)}
    assert token_lookup(SAMPLED_ACTIVATIONS.frame([]), SEQUENCES, 4, (1,)).is_empty()


def test_a_mean_is_shrunk_as_the_variances_say() -> None:
    # Tokens of 2, 2 and 1 values: W = 2 + 2 = 4 over 5 - 3, so within = 2. Means 1, 7 and 4 about m = 4:
    # B = 2 * 9 + 2 * 9 + 0 = 36 over 2, n0 = (5 - 9 / 5) / 2 = 1.6, so between = (18 - 2) / 1.6 = 10, k = .2.
    found = shrunken_means(np.array([0, 0, 1, 1, 2]), np.array([0.0, 2.0, 6.0, 8.0, 4.0]))
    assert found == pytest.approx([(2 * 1 + 0.2 * 4) / 2.2, (2 * 7 + 0.2 * 4) / 2.2, 4.0])


def test_a_rare_token_is_shrunk_more_than_a_frequent_one_of_the_same_mean() -> None:
    places = np.array([0] * 9 + [1] + [2] * 8)
    values = np.array([9.0, 10.0, 11.0] * 3 + [10.0] + [0.0, 2.0] * 4)
    frequent, rare, low = shrunken_means(places, values)
    assert 10 > frequent > rare > values.mean() > low > 1


@pytest.mark.parametrize(
    ("places", "values"),
    [
        ([0, 1, 2], [1.0, 5.0, 3.0]),  # nothing occurs twice
        ([0, 0, 0], [1.0, 5.0, 3.0]),  # there is one token
        ([0, 0, 1, 1], [1.0, 5.0, 5.0, 1.0]),  # means differ by no more than chance
        ([0, 0, 1, 1], [3.0, 3.0, 3.0, 3.0]),
    ],
)
def test_where_nothing_tells_tokens_apart_all_get_the_mean(places: list[int], values: list[float]) -> None:
    assert shrunken_means(np.array(places), np.array(values)) == pytest.approx([3.0] * (max(places) + 1))


def test_tokens_that_always_do_the_same_keep_their_means() -> None:
    assert shrunken_means(np.array([0, 0, 1, 1]), np.array([2.0, 2.0, 6.0, 6.0])).tolist() == [2.0, 6.0]
