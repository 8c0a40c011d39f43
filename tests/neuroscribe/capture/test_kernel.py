import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscribe.capture import CapturePlan, LayerState, kernel, reference
from neuroscribe.capture.reference import bins
from neuroscribe.capture.state import BINS, HALF_OCTAVES, empty_state, histogram_edges
from tests.neuroscribe.capture.scenario import sorted_slots

SHAPES = st.fixed_dictionaries(
    {
        "sequences": st.integers(1, 12),
        "tokens": st.integers(1, 9),
        "neurons": st.sampled_from([1, 3, 63, 64, 65, 130]),
        "k": st.integers(1, 6),
        "batch": st.integers(1, 12),
        "steps": st.sampled_from([1, 3, 1000]),
        "seed": st.integers(0, 2**16),
        "polarities": st.sampled_from([(1,), (1, -1)]),
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


def taken(take: object, values: torch.Tensor, batch: int, k: int, polarities: tuple[int, ...]) -> LayerState:
    plan = CapturePlan(k, polarities, ())
    state = empty_state(plan, layer=0, neurons=values.shape[2], tokens=values.shape[1], vocabulary=1)
    for start in range(0, len(values), batch):
        some = values[start : start + batch]
        take(state, some, torch.arange(start, start + len(some)), polarities)  # type: ignore[operator]
    return state


def bits(state: LayerState) -> dict[str, bytes]:
    """Every number of a state, with its slots in order."""
    sides = [sorted_slots(state, side) for side in range(len(state.top_value))]
    other = ("pivot", "sums", "extremes", "positive", "histogram", "peak_histogram")
    slots = {f"top {side} {part}": array for side, own in enumerate(sides) for part, array in enumerate(own)}
    return {name: getattr(state, name).numpy().tobytes() for name in other} | {
        name: array.tobytes() for name, array in slots.items()
    }


@settings(deadline=None, max_examples=60)
@given(SHAPES)
def test_the_compiled_kernel_equals_the_reference_to_the_bit(shape: dict[str, object]) -> None:
    batch, k, polarities = shape.pop("batch"), shape.pop("k"), shape.pop("polarities")
    values = activations(**shape)  # type: ignore[arg-type]
    compiled = taken(kernel.take, values, batch, k, polarities)  # type: ignore[arg-type]
    plain = taken(reference.take, values, batch, k, polarities)  # type: ignore[arg-type]
    assert compiled.sequences == plain.sequences == len(values)
    assert bits(compiled) == bits(plain)


@settings(deadline=None, max_examples=30)
@given(SHAPES)
def test_the_batch_size_changes_no_bit(shape: dict[str, object]) -> None:
    batch, k, polarities = shape.pop("batch"), shape.pop("k"), shape.pop("polarities")
    values = activations(**shape)  # type: ignore[arg-type]
    whole = taken(kernel.take, values, len(values), k, polarities)  # type: ignore[arg-type]
    assert bits(taken(kernel.take, values, batch, k, polarities)) == bits(whole)  # type: ignore[arg-type]


def test_of_equal_peaks_the_smaller_ids_are_kept() -> None:
    values = torch.tensor([1.0, 2.0, 2.0, 2.0, 0.5])[:, None, None].expand(5, 2, 1).contiguous()
    for take in (kernel.take, reference.take):
        state = taken(take, values, 5, 3, (1, -1))
        assert sorted_slots(state, 0)[1].tolist() == [[1, 2, 3]]
        assert sorted_slots(state, 1)[1].tolist() == [[4, 0, 1]]
        assert sorted_slots(state, 1)[0].tolist() == [[-0.5, -1.0, -2.0]]


def test_a_neuron_that_is_zero_of_either_sign_has_one_zero() -> None:
    values = torch.tensor([0.0, -0.0, -0.0, 0.0]).reshape(2, 2, 1)
    for take in (kernel.take, reference.take):
        state = taken(take, values, 1, 2, (1, -1))
        assert not np.signbit(state.extremes.numpy()).any()
        assert not np.signbit(state.top_value.numpy()).any()
        assert sorted_slots(state, 0)[1].tolist() == [[0, 1]]
        assert np.signbit(sorted_slots(state, 0)[2]).tolist() == [[[False, True], [True, False]]]


def test_a_constant_neuron_has_no_spread() -> None:
    values = torch.full((3, 4, 2), 0.7)
    assert torch.equal(taken(kernel.take, values, 2, 1, (1,)).sums, torch.zeros(4, 2, dtype=torch.float64))


def test_unfilled_slots_stay_empty() -> None:
    state = taken(kernel.take, torch.ones(2, 3, 1), 2, 4, (1,))
    values, ids, _ = sorted_slots(state, 0)
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
    assert bins(values).tolist() == [*expected, BINS - 1, 0]
