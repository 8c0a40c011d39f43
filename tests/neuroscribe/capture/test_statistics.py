import numpy as np
import pytest
import torch

from neuroscribe.capture import CapturePlan, kernel
from neuroscribe.capture.state import empty_state
from neuroscribe.capture.statistics import layer_statistics, quantile_bounds
from neuroscribe.tables.scales import QUANTILE_LEVELS, histogram_edges


def statistics(
    values: torch.Tensor,
    polarities: tuple[int, ...] = (1,),
    top_k: int = 4,
    *,
    token_histogram: bool = True,
) -> dict[str, list[object]]:
    """The table for activations [sequence, token, neuron]."""
    _, tokens, neurons = values.shape
    plan = CapturePlan(top_k, polarities, (), token_histogram=token_histogram)
    state = empty_state(plan, neurons=neurons, tokens=tokens, pivot=values[0, 0].bfloat16().float())
    kernel.take(state, values.float(), range(len(values)), plan)
    return layer_statistics(state, 3, polarities=polarities, top_k=top_k).to_dict(as_series=False)


def test_moments_are_those_of_all_tokens() -> None:
    table = statistics(torch.tensor([[1.0], [1.0], [1.0], [5.0]]).reshape(2, 2, 1))
    assert table["layer"] == [3]
    assert table["n_tokens"] == [4]
    assert (table["mean"], table["variance"]) == ([2.0], [3.0])
    assert table["skewness"] == [pytest.approx(2 / 3**0.5)]  # third moment 6
    assert table["kurtosis"] == [pytest.approx(21 / 9)]  # fourth moment 21
    assert (table["min"], table["max"], table["fraction_positive"]) == ([1.0], [5.0], [1.0])


def test_moments_of_many_values_agree_with_numpy_in_double_precision() -> None:
    values = torch.randn(40, 8, 3, generator=torch.Generator().manual_seed(1)) ** 3 + 1000 * torch.arange(3)
    table = statistics(values)
    for neuron in range(3):
        own = values[:, :, neuron].double().numpy().ravel()
        centred = own - own.mean()
        deviation = (centred**2).mean() ** 0.5
        assert table["mean"][neuron] == pytest.approx(own.mean(), rel=1e-13)
        assert table["variance"][neuron] == pytest.approx(deviation**2, rel=1e-11)
        assert table["skewness"][neuron] == pytest.approx((centred**3).mean() / deviation**3, rel=1e-9)
        assert table["kurtosis"][neuron] == pytest.approx((centred**4).mean() / deviation**4, rel=1e-9)


def test_a_constant_neuron_has_no_skewness() -> None:
    table = statistics(torch.full((2, 3, 1), 0.1))
    assert (table["variance"], table["skewness"], table["kurtosis"]) == ([0.0], [None], [None])


def test_a_neuron_that_barely_moves_has_finite_moments() -> None:
    table = statistics(torch.tensor([1e-38, 2e-38, 1e-38, 1e-38]).reshape(2, 2, 1))
    assert table["skewness"] == [pytest.approx(2 / 3**0.5)]


def test_a_neuron_is_dead_when_it_never_fires_on_a_studied_side() -> None:
    values = torch.tensor([[0.0, -1.0, 1.0, -0.0]]).reshape(1, 1, 4).expand(2, 2, 4).contiguous()
    assert statistics(values)["dead"] == [True, True, False, True]
    assert statistics(values, (1, -1))["dead"] == [True, False, False, True]


def test_a_neuron_is_near_dead_when_it_fires_in_fewer_sequences_than_the_top_holds() -> None:
    values = torch.zeros(5, 2, 4)
    values[:2, 0, 0] = 1.0  # fires in two sequences
    values[:3, 1, 1] = 1.0  # in three
    values[:, 0, 2] = -1.0  # in five, on the negative side alone
    assert statistics(values, top_k=3)["near_dead"] == [True, False, False, False]
    assert statistics(values, top_k=3)["dead"] == [False, False, True, True]
    assert statistics(values, (1, -1), top_k=3)["near_dead"] == [True, False, False, False]
    assert statistics(values, (1, -1), top_k=3)["dead"] == [False, False, False, True]


def test_the_histogram_counts_every_token_once() -> None:
    (counts,) = statistics(torch.tensor([0.0, 1.0, 1.2, -3.0]).reshape(2, 2, 1))["histogram"]
    edges = histogram_edges()
    found = {edges[place]: count for place, count in enumerate(counts) if count}  # type: ignore[arg-type]
    assert found == {-4.0: 1, -(2.0**-20): 1, 1.0: 2}


def test_without_a_histogram_its_columns_are_null_and_all_else_is_the_same() -> None:
    values = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(4))
    full, bare = statistics(values), statistics(values, token_histogram=False)
    assert bare["histogram"] == bare["quantiles"] == [None] * 3
    assert None not in full["histogram"] + full["quantiles"]
    left_out = {"histogram", "quantiles"}
    assert {name: full[name] for name in full.keys() - left_out} == {
        name: bare[name] for name in bare.keys() - left_out
    }


def test_quantiles_ascend_within_the_extremes() -> None:
    values = torch.randn(50, 8, 2, generator=torch.Generator().manual_seed(2))
    table = statistics(values)
    for neuron, quantiles in enumerate(table["quantiles"]):
        own = values[:, :, neuron].numpy().ravel()
        found = np.array(quantiles)
        assert (np.diff(found) >= 0).all()
        assert own.min() <= found[0]
        assert found[-1] <= own.max()
        exact = np.quantile(own, QUANTILE_LEVELS)
        assert (np.abs(found - exact) <= 0.5 * np.abs(exact) + 0.05).all()  # one half-octave


def test_bounds_are_spread_evenly_within_a_bin() -> None:
    edges = histogram_edges()
    histogram = np.zeros((1, len(edges) - 1), dtype=np.int64)
    histogram[0, edges.index(1.0)] = 2
    histogram[0, edges.index(2.0)] = 2
    assert bounds(histogram, low=0.0, high=9.0) == [1.0, 1.25, 1.5, 2.5, 3.0]


def bounds(histogram: np.ndarray, *, low: float, high: float) -> list[float]:
    levels = (0.0, 0.25, 0.5, 0.75, 1.0)
    ends = {"low": np.array([low]), "high": np.array([high])}
    return quantile_bounds(histogram, levels, histogram_edges(), **ends)[0].tolist()


def test_the_outermost_bins_end_at_the_neuron_s_own_extremes() -> None:
    histogram = np.zeros((1, len(histogram_edges()) - 1), dtype=np.int64)
    histogram[0, histogram_edges().index(1.0)] = 2
    histogram[0, -1] = 2  # from 24,576 on; what is larger than 32,768 is counted here as well
    assert bounds(histogram, low=1.25, high=90112.0) == [1.25, 1.375, 1.5, 57344.0, 90112.0]
    mirrored = histogram[:, ::-1]
    assert bounds(mirrored, low=-90112.0, high=-1.25) == [-90112.0, -57344.0, -24576.0, -1.375, -1.25]


def test_a_neuron_within_one_bin_is_spread_between_its_extremes() -> None:
    histogram = np.zeros((1, len(histogram_edges()) - 1), dtype=np.int64)
    histogram[0, -1] = 4
    assert bounds(histogram, low=40000.0, high=80000.0) == [40000.0, 50000.0, 60000.0, 70000.0, 80000.0]
    around_zero = np.roll(histogram, -(histogram.shape[1] // 2), axis=1)
    assert bounds(around_zero, low=-(2.0**-30), high=3 * 2.0**-30) == [
        step * 2.0**-30 for step in (-1, 0, 1, 2, 3)
    ]


@pytest.mark.parametrize("size", [1e-8, 1e6])
def test_quantiles_of_very_small_and_very_large_activations_are_where_these_are(size: float) -> None:
    values = size * torch.arange(1.0, 101.0).reshape(25, 4, 1)
    (quantiles,) = statistics(values)["quantiles"]
    assert np.array(quantiles) / size == pytest.approx(np.quantile(np.arange(1, 101), QUANTILE_LEVELS), abs=2)
