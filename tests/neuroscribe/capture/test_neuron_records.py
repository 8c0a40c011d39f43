from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscribe.capture import CapturePlan, LayerState, Pool, kernel
from neuroscribe.capture.neuron_records import ExemplarPlan, neuron_records
from neuroscribe.capture.state import empty_state
from neuroscribe.evidence.exemplars import by_neuron, scored_exemplars

RANDOM_IDS = (1, 4, 6, 9, 12, 15, 17, 20, 25, 28, 31, 38)
POOLS = (Pool((0, 2, 5, 18, 33, 36, 37, 39), 5), Pool((3, 7, 19, 33, 37), 3))
"""Random sequences for the bands from .9 and from .99 on."""
ONE = ["layer", "neuron", "polarity"]


def capture_plan(k: int, polarities: tuple[int, ...]) -> CapturePlan:
    return CapturePlan(k, polarities, RANDOM_IDS, pools=POOLS)


def captured(values: torch.Tensor, *, k: int, polarities: tuple[int, ...]) -> LayerState:
    """The state of a layer after activations [sequence, token, neuron]."""
    plan = capture_plan(k, polarities)
    state = empty_state(plan, neurons=values.shape[2], tokens=values.shape[1])
    kernel.take(state, values, range(len(values)), plan)
    state.random_vector.copy_(values[list(RANDOM_IDS)])
    return state


def records(
    values: torch.Tensor,
    *,
    k: int = 9,
    random: int = 6,
    quantile: int = 2,
    polarities: tuple[int, ...] = (1, -1),
    documents: Sequence[int] = range(40),
) -> pl.DataFrame:
    """Exemplars of sequences of these documents, each of its own unless given."""
    plan = ExemplarPlan(capture_plan(k, polarities), random, quantile)
    state = captured(values, k=k, polarities=polarities)
    return neuron_records(state, 2, plan, np.array(documents))


def some_values(seed: int, steps: int) -> torch.Tensor:
    """Activations of 40 sequences, 5 tokens, 4 neurons, in few steps so that some are equal."""
    values = torch.randn(40, 5, 4, generator=torch.Generator().manual_seed(seed))
    return ((values**3) * steps).round() / steps


PLANS = st.fixed_dictionaries(
    {
        "k": st.integers(4, 20),
        "random": st.integers(3, 12),
        "quantile": st.integers(0, 4),
        "polarities": st.sampled_from([(1,), (1, -1)]),
    }
)
VALUES = st.builds(some_values, st.integers(0, 2**16), st.sampled_from([1, 4, 10**6]))


@settings(deadline=None, max_examples=40)
@given(VALUES, PLANS)
def test_no_sequence_is_in_two_places_of_a_neuron(values: torch.Tensor, plan: dict[str, Any]) -> None:
    table = records(values, **plan)
    assert not table.select(*ONE, "sequence_id").is_duplicated().any()
    random = table.filter(pl.col("kind") == "random")
    assert set(random["sequence_id"]) <= set(RANDOM_IDS)
    pooled = {sequence for pool in POOLS for sequence in pool.sequence_ids}
    bands = table.filter(pl.col("kind") == "quantile")
    assert set(bands["sequence_id"]) <= set(RANDOM_IDS) | pooled


@settings(deadline=None, max_examples=40)
@given(VALUES, PLANS)
def test_every_row_holds_the_activations_of_its_sequence(values: torch.Tensor, plan: dict[str, Any]) -> None:
    for row in records(values, **plan).iter_rows(named=True):
        own = values[row["sequence_id"], :, row["neuron"]]
        signed = row["polarity"] * own
        assert row["activations"] == own.tolist()
        assert row["peak"] * row["polarity"] == signed.max()
        assert row["peak_position"] == signed.tolist().index(float(signed.max()))
        assert row["layer"] == 2


@settings(deadline=None, max_examples=40)
@given(VALUES, PLANS)
def test_top_exemplars_are_the_largest_peaks_in_order(values: torch.Tensor, plan: dict[str, Any]) -> None:
    tops = records(values, **plan).filter(pl.col("kind") == "top")
    for (_, neuron, polarity), rows in tops.partition_by(ONE, as_dict=True).items():
        peaks = (polarity * values[:, :, neuron].numpy()).max(axis=1)
        order = np.lexsort((np.arange(40), -peaks))[: plan["k"]]
        assert rows["rank"].to_list() == list(range(plan["k"]))
        assert rows["sequence_id"].to_list() == order.tolist()


@settings(deadline=None, max_examples=40)
@given(VALUES, PLANS)
def test_quantile_exemplars_lie_within_their_bands(values: torch.Tensor, plan: dict[str, Any]) -> None:
    bands = records(values, **plan).filter(pl.col("kind") == "quantile")
    assert (bands["quantile_low"] <= bands["quantile_high"]).all()
    assert bands["peak"].is_between(bands["quantile_low"], bands["quantile_high"]).all()
    assert not bands.select(*ONE, "rank").is_duplicated().any()
    counts = bands.group_by(*ONE, "quantile_low").len()
    assert (counts["len"] <= plan["quantile"]).all()
    assert bands["split"].unique().to_list() in ([], ["train"])


@settings(deadline=None, max_examples=20)
@given(VALUES, PLANS)
def test_every_split_of_every_neuron_has_its_exemplars(values: torch.Tensor, plan: dict[str, Any]) -> None:
    for rows in by_neuron(records(values, **plan)).values():
        assert set(rows.filter(pl.col("kind") == "top")["split"]) == {"train", "valid", "test"}
        assert set(rows.filter(pl.col("kind") == "random")["split"]) <= {"valid", "test"}


DOCUMENTS = st.integers(1, 40).flatmap(lambda most: st.lists(st.integers(0, most), min_size=40, max_size=40))


@settings(deadline=None, max_examples=40)
@given(VALUES, PLANS, DOCUMENTS)
def test_no_document_is_in_two_splits_of_a_neuron(
    values: torch.Tensor, plan: dict[str, Any], documents: list[int]
) -> None:
    table = records(values, **plan, documents=documents).with_columns(
        document=pl.col("sequence_id").map_elements(documents.__getitem__, return_dtype=pl.Int64)
    )
    assert (table.group_by(*ONE, "document").agg(pl.col("split").n_unique())["split"] == 1).all()
    assert "train" not in set(table.filter(kind="random")["split"])
    tops = table.filter(kind="top")
    for ranked in tops.partition_by(*ONE):
        first = ranked.unique("document", keep="first", maintain_order=True)
        strides = ("train", "valid", "valid", "test")
        assert first["split"].to_list() == [strides[rank % 4] for rank in first["rank"]]


def ramp() -> torch.Tensor:
    """One neuron that peaks at its sequence's id, at token 2."""
    values = torch.zeros(40, 5, 1)
    values[:, 2, 0] = torch.arange(40.0)
    return values


def test_splits_are_interleaved_over_the_ranks() -> None:
    table = records(ramp(), k=6, random=5, quantile=0, polarities=(1,))
    tops, random = (table.filter(pl.col("kind") == kind) for kind in ("top", "random"))
    assert tops["sequence_id"].to_list() == [39, 38, 37, 36, 35, 34]
    assert tops["split"].to_list() == ["train", "valid", "valid", "test", "train", "valid"]
    assert random["sequence_id"].to_list() == [1, 4, 6, 9, 12]
    assert random["split"].to_list() == ["valid", "valid", "test", "valid", "valid"]
    assert table["peak_position"].unique().to_list() == [2]


def test_a_sequence_goes_where_its_document_is_already() -> None:
    documents = list(range(40))
    documents[36] = documents[35] = 39  # ranks 3 and 4 are of the document of rank 0
    documents[4] = 37  # the second random sequence is of the document of rank 2
    table = records(ramp(), k=6, random=5, quantile=0, polarities=(1,), documents=documents)
    tops, random = (table.filter(pl.col("kind") == kind) for kind in ("top", "random"))
    assert tops["split"].to_list() == ["train", "valid", "valid", "train", "train", "valid"]
    assert random["sequence_id"].to_list() == [1, 4, 6, 9, 12]
    assert random["split"].to_list() == ["valid", "valid", "test", "valid", "valid"]
    documents[6] = 1  # the third random sequence is of the document of the first
    table = records(ramp(), k=6, random=5, quantile=0, polarities=(1,), documents=documents)
    assert table.filter(kind="random")["split"].to_list() == ["valid"] * 5


def test_a_random_sequence_of_a_document_that_is_shown_is_passed_over() -> None:
    documents = list(range(40))
    documents[4] = 39  # of the document of the strongest sequence, which is shown
    table = records(ramp(), k=6, random=5, quantile=0, polarities=(1,), documents=documents)
    assert table.filter(kind="random")["sequence_id"].to_list() == [1, 6, 9, 12, 15]


def test_a_quantile_exemplar_is_of_no_document_that_is_scored() -> None:
    documents = list(range(40))
    documents[9] = 4  # the first of the lowest band, of the document of a random exemplar
    documents[37] = 39  # the first of the upper band, of the document of the top exemplar, which is shown
    table = records(ramp(), k=1, random=3, quantile=1, polarities=(1,), documents=documents)
    assert table.filter(kind="quantile")["sequence_id"].to_list() == [12, 25, 37]


@pytest.mark.parametrize("size", [1e-9, 1e5])
@pytest.mark.parametrize("polarity", [1, -1])
def test_very_small_and_very_large_peaks_have_bands(size: float, polarity: int) -> None:
    table = records(polarity * size * ramp(), k=1, random=3, quantile=1)
    bands = table.filter(kind="quantile", polarity=polarity)
    inner, outer = ("quantile_low", "quantile_high")[::polarity]
    assert bands["sequence_id"].to_list() == [9, 20, 36]
    assert (polarity * bands[outer] / size).to_list() == pytest.approx([19.5, 35.1, 38.6], abs=0.5)
    assert bands[inner][1:].to_list() == bands[outer][:-1].to_list()


def test_a_random_sequence_among_the_top_ones_is_passed_over() -> None:
    table = records(ramp(), k=12, random=12, quantile=0, polarities=(1,))
    random = table.filter(pl.col("kind") == "random")["sequence_id"].to_list()
    assert random == [1, 4, 6, 9, 12, 15, 17, 20, 25]  # 28, 31 and 38 are among the top 12


def test_lower_bands_take_random_sequences_that_are_left_and_upper_ones_those_of_their_pool() -> None:
    table = records(ramp(), k=1, random=3, quantile=1, polarities=(1,))
    bands = table.filter(pl.col("kind") == "quantile")
    # 20 is the median, 36 the .9 and 39.6 the .99 quantile; 39 is the top exemplar.
    assert bands["sequence_id"].to_list() == [9, 25, 37]
    assert bands["rank"].to_list() == [0, 1, 2]
    assert bands["quantile_low"][0] <= 0
    assert abs(bands["quantile_high"][0] - 20) < 1
    assert abs(bands["quantile_low"][2] - 36) < 1


def test_of_a_pool_the_first_by_id_in_the_band_is_taken_not_the_largest() -> None:
    values = ramp()
    values[36, 2, 0], values[38, 2, 0] = 38.0, 36.0
    table = records(values, k=1, random=3, quantile=1, polarities=(1,))
    assert table.filter(pl.col("kind") == "quantile")["sequence_id"].to_list() == [9, 25, 36]


def test_bounds_are_exact_to_an_eighth_of_an_octave() -> None:
    peaks = torch.arange(40.0) / 7 + 0.1
    values = peaks[:, None, None].expand(40, 5, 1).contiguous()
    bands = records(values, k=1, random=3, quantile=1, polarities=(1,)).filter(pl.col("kind") == "quantile")
    for bound, level in ((bands["quantile_high"][0], 0.5), (bands["quantile_high"][1], 0.9)):
        exact = float(np.quantile(peaks.numpy(), level, method="inverted_cdf"))
        assert abs(bound - exact) <= exact / 8


def test_peaks_and_bounds_of_the_negative_side_are_signed() -> None:
    negative = records(-ramp(), k=4, random=3, quantile=1, polarities=(1, -1)).filter(
        pl.col("polarity") == -1
    )
    positive = records(ramp(), k=4, random=3, quantile=1, polarities=(1,))
    assert negative["peak"].to_list() == (-positive["peak"]).to_list()
    assert negative["quantile_low"].to_list() == (-positive["quantile_high"]).to_list()
    assert negative["sequence_id"].to_list() == positive["sequence_id"].to_list()


def test_rows_are_sorted_by_neuron_side_kind_and_rank() -> None:
    table = records(some_values(3, 10**6))
    again = table.sort("neuron", "polarity", "kind", "rank", descending=[False, True, True, False])
    assert table.equals(again)


def test_scored_exemplars_are_top_then_random_on_the_explained_side() -> None:
    rows = by_neuron(records(-ramp(), k=8, random=6, quantile=0))[0, -1]
    exemplars = scored_exemplars(rows, "test", per_kind=1, polarities=(1, -1))
    assert exemplars.sequence_ids == (36, 6)
    assert exemplars.kinds == ("top", "random")
    assert exemplars.truth.tolist() == [[0, 0, 36, 0, 0], [0, 0, 6, 0, 0]]


def test_the_other_side_of_a_gated_neuron_counts_as_silence() -> None:
    both = ramp()
    both[:, 0, 0] = -1.0
    rows = by_neuron(records(both, k=4, random=3, quantile=0))[0, 1]
    gated = scored_exemplars(rows, "test", per_kind=1, polarities=(1, -1)).truth
    plain = scored_exemplars(rows, "test", per_kind=1, polarities=(1,)).truth
    assert gated[0].tolist() == [0, 0, 36, 0, 0]
    assert plain[0].tolist() == [-1, 0, 36, 0, 0]


def test_a_split_without_exemplars_is_empty() -> None:
    rows = by_neuron(records(ramp(), k=4, random=3, polarities=(1,)))[0, 1]
    nothing = scored_exemplars(rows, "elsewhere", per_kind=5, polarities=(1,))
    assert (nothing.sequence_ids, nothing.truth.size) == ((), 0)
