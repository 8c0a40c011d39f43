from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscribe.capture import CapturePlan, LayerState, Pool, batched, kernel, reference
from neuroscribe.capture.reference import bins
from neuroscribe.capture.state import empty_state
from neuroscribe.tables.scales import (
    BINS,
    EIGHTH_OCTAVES,
    HALF_OCTAVES,
    PEAK_BINS,
    histogram_edges,
    peak_edges,
)
from tests.neuroscribe.capture.scenario import everything, sorted_slots

SHAPES = st.fixed_dictionaries(
    {
        "sequences": st.integers(1, 12),
        "tokens": st.integers(1, 19),
        "neurons": st.sampled_from([1, 3, 255, 256, 257, 520]),
        "k": st.integers(1, 6),
        "batch": st.integers(1, 12),
        "steps": st.sampled_from([1, 3, 1000]),
        "seed": st.integers(0, 2**16),
        "polarities": st.sampled_from([(1,), (1, -1)]),
        "skipped": st.integers(0, 2),
        "dtype": st.sampled_from([torch.float32, torch.bfloat16]),
        "token_histogram": st.booleans(),
    }
)


def activations(sequences: int, tokens: int, neurons: int, steps: int, seed: int) -> torch.Tensor:
    """Values in few steps, so that many are equal; neuron 0 is constant, neuron 1 zero of either sign."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(sequences, tokens, neurons, generator=generator)
    values = (values * steps).round() / steps * 10.0 ** torch.randint(-9, 6, (neurons,), generator=generator)
    values[:, :, 0] = 0.7
    if neurons > 1:
        signs = torch.randint(0, 2, (sequences, tokens), generator=generator) * 2 - 1
        values[:, :, 1] = 0.0 * signs
    return values


def plan_of(k: int, polarities: tuple[int, ...], *, token_histogram: bool = True) -> CapturePlan:
    pools = (Pool((0, 2, 3, 7), 2), Pool((1, 2, 11), 1))
    return CapturePlan(k, polarities, (), pools=pools, token_histogram=token_histogram)


def taken(
    take: Any,
    values: torch.Tensor,
    batch: int,
    k: int,
    polarities: tuple[int, ...],
    *,
    skipped: int = 0,
    dtype: torch.dtype = torch.float32,
    token_histogram: bool = True,
) -> LayerState:
    """The state after all values, given in batches behind `skipped` positions of something else."""
    plan = plan_of(k, polarities, token_histogram=token_histogram)
    state = empty_state(
        plan,
        neurons=values.shape[2],
        tokens=values.shape[1],
        pivot=values[0, 0],
        dtype=dtype,
    )
    values = torch.nn.functional.pad(values, (0, 0, skipped, 0), value=1e6).to(dtype)
    for start in range(0, len(values), batch):
        some = values[start : start + batch]
        take(state, some, range(start, start + len(some)), plan, skipped=skipped)
    return state


@settings(deadline=None, max_examples=60)
@given(SHAPES)
def test_the_compiled_kernel_equals_the_reference_to_the_bit(shape: dict[str, Any]) -> None:
    values, how = made(shape)
    compiled, plain = taken(kernel.take, values, **how), taken(reference.take, values, **how)
    assert compiled.sequences == plain.sequences == len(values)
    plan = plan_of(how["k"], how["polarities"])
    assert everything(compiled, plan) == everything(plain, plan)


@settings(deadline=None, max_examples=40)
@given(SHAPES)
def test_the_step_for_gpus_equals_the_reference_but_for_the_order_of_additions(shape: dict[str, Any]) -> None:
    values, how = made(shape)
    plan = plan_of(how["k"], how["polarities"])
    batches, plain = taken(batched.take, values, **how), taken(reference.take, values, **how)
    sizes = plain.sums.abs() + 1e-300
    scale = (values.double() - plain.pivot.double()).abs().amax((0, 1)) ** torch.arange(1, 5)[:, None]
    assert ((batches.sums - plain.sums).abs() <= 1e-12 * (sizes + scale * values[:, :, 0].numel())).all()
    batches.sums = plain.sums
    assert everything(batches, plan) == everything(plain, plan)


@settings(deadline=None, max_examples=30)
@given(SHAPES)
def test_the_batch_size_changes_no_bit(shape: dict[str, Any]) -> None:
    values, how = made(shape)
    plan = plan_of(how["k"], how["polarities"])
    parts = taken(kernel.take, values, **how)
    whole = taken(kernel.take, values, **(how | {"batch": len(values)}))
    assert everything(parts, plan) == everything(whole, plan)


def made(shape: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return activations of a shape, and how they are to be taken."""
    how = {name: shape[name] for name in ("batch", "k", "polarities", "skipped", "dtype", "token_histogram")}
    size = {name: value for name, value in shape.items() if name not in how}
    return activations(**size), how


def test_of_equal_peaks_the_smaller_ids_are_kept() -> None:
    values = torch.tensor([1.0, 2.0, 2.0, 2.0, 0.5])[:, None, None].expand(5, 2, 1).contiguous()
    for take in (kernel.take, reference.take):
        state = taken(take, values, 5, 3, (1, -1))
        best = slice(0, 3)
        assert sorted_slots(state, 0, best)[1].tolist() == [[1, 2, 3]]
        assert sorted_slots(state, 1, best)[1].tolist() == [[4, 0, 1]]
        assert sorted_slots(state, 1, best)[0].tolist() == [[-0.5, -1.0, -2.0]]


def test_a_neuron_that_is_zero_of_either_sign_has_one_zero() -> None:
    values = torch.tensor([0.0, -0.0, -0.0, 0.0]).reshape(2, 2, 1)
    for take in (kernel.take, reference.take):
        state = taken(take, values, 1, 2, (1, -1))
        assert not np.signbit(state.extremes.numpy()).any()
        assert not np.signbit(state.top_value[:, :, :2].numpy()).any()
        best = slice(0, 2)
        assert sorted_slots(state, 0, best)[1].tolist() == [[0, 1]]
        assert np.signbit(sorted_slots(state, 0, best)[2]).tolist() == [[[False, True], [True, False]]]


def test_a_constant_neuron_has_no_spread() -> None:
    values = torch.full((3, 4, 2), 0.7)
    assert torch.equal(taken(kernel.take, values, 2, 1, (1,)).sums, torch.zeros(4, 2, dtype=torch.float64))


def test_a_pool_keeps_the_largest_peaks_of_its_own_sequences() -> None:
    values = torch.tensor([5.0, 9.0, 7.0, 6.0, 8.0])[:, None, None].expand(5, 2, 1).contiguous()
    for take in (kernel.take, reference.take):
        state = taken(take, values, 2, 1, (1,))
        assert sorted_slots(state, 0, slice(0, 1))[1].tolist() == [[1]]
        assert sorted_slots(state, 0, slice(1, 3))[1].tolist() == [[2, 3]]  # of 0, 2 and 3
        assert sorted_slots(state, 0, slice(3, 4))[1].tolist() == [[1]]  # of 1 and 2


def test_unfilled_slots_stay_empty() -> None:
    state = taken(kernel.take, torch.ones(2, 3, 1), 2, 4, (1,))
    values, ids, _ = sorted_slots(state, 0, slice(0, 4))
    assert values.tolist() == [[1.0, 1.0, -np.inf, -np.inf]]
    assert ids[0, :2].tolist() == [0, 1]


def test_bins_are_half_octaves_on_each_side_of_zero() -> None:
    edges = histogram_edges()
    assert len(edges) == BINS + 1
    assert edges == sorted(edges)
    values = torch.tensor([0.0, -0.0, 1e-9, 1.0, 1.49, 1.5, 2.0, -1.0, -1.5, 1e30, -1e30])
    middle, one = HALF_OCTAVES, HALF_OCTAVES + 41
    assert edges[one : one + 3] == [1.0, 1.5, 2.0]
    expected = [middle, middle, middle, one, one, one + 1, one + 2, 2 * middle - one, 2 * middle - one - 1]
    assert bins(values, 2).tolist() == [*expected, BINS - 1, 0]


def test_bins_of_peaks_are_eighths_of_octaves() -> None:
    edges = peak_edges()
    assert len(edges) == PEAK_BINS + 1
    assert edges == sorted(edges)
    values = torch.tensor([0.0, 1.0, 1.12, 1.125, 1.99, 2.0, -1.3, 1e30])
    one = EIGHTH_OCTAVES + 8 * 20 + 1
    assert edges[one : one + 2] == [1.0, 1.125]
    expected = [EIGHTH_OCTAVES, one, one, one + 1, one + 7, one + 8, 2 * EIGHTH_OCTAVES - one - 2]
    assert bins(values, 8).tolist() == [*expected, PEAK_BINS - 1]
