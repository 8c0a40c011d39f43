from dataclasses import replace

import numpy as np
import pytest
import torch

from neuroscribe.capture import CapturePlan, LayerState, capture, check_size
from neuroscribe.errors import StudyError, SubjectError
from neuroscribe.study.spec import Study
from neuroscribe.subject.architectures import down_projections
from neuroscribe.subject.subject import Subject
from neuroscribe.tables.scales import histogram_edges, peak_edges
from neuroscribe.testing.random_subjects import LAYERS, NEURONS, VOCABULARY, random_subject
from neuroscribe.testing.stores import SilentProgress
from neuroscribe.testing.studies import tiny_study
from tests.neuroscribe.capture.scenario import (
    LENGTH,
    RANDOM_IDS,
    SEQUENCES,
    TOP,
    corpus,
    every_activation,
    everything,
    plan,
    sorted_slots,
    subject,
    tiny,
)

FAMILIES = ("gpt2", "gpt_neox", "llama")
DTYPES = (torch.float32, torch.bfloat16)


def captured(own: Subject, tokens: torch.Tensor, kept: CapturePlan) -> dict[int, LayerState]:
    return capture(own, tokens, plan=kept, layers=[0, 1], progress=SilentProgress())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_top_k_is_that_of_all_activations_sorted(model_type: str, dtype: torch.dtype) -> None:
    own = subject(tiny(model_type, dtype))
    truth = every_activation(own, corpus())
    states = captured(own, corpus(), plan())
    for layer, state in states.items():
        for side, polarity in enumerate((1, -1)):
            signed = (polarity * truth[layer]).max(axis=1).T + 0.0
            ids = np.broadcast_to(np.arange(SEQUENCES), signed.shape)
            order = np.lexsort((ids, -signed))[:, :TOP]
            vectors = truth[layer].transpose(2, 0, 1)
            found = sorted_slots(state, side)
            assert np.array_equal(found[0], np.take_along_axis(signed, order, 1))
            assert np.array_equal(found[1], order)
            assert np.array_equal(found[2], np.take_along_axis(vectors, order[:, :, None], 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_scenario_has_ties_at_the_edge_of_the_top_k(dtype: torch.dtype) -> None:
    peaks = every_activation(subject(tiny(dtype=dtype)), corpus()).max(axis=2)
    ordered = -np.sort(-peaks, axis=1)
    assert (ordered[:, TOP - 1] == ordered[:, TOP]).sum() >= 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_counts_extremes_and_random_vectors_are_exact(model_type: str, dtype: torch.dtype) -> None:
    own = subject(tiny(model_type, dtype))
    truth = every_activation(own, corpus())
    for layer, state in captured(own, corpus(), plan()).items():
        values = truth[layer]
        assert state.sequences == SEQUENCES
        assert np.array_equal(state.positive.numpy(), (values > 0).sum((0, 1)))
        assert np.array_equal(state.extremes.numpy(), [values.min((0, 1)), values.max((0, 1))])
        assert np.array_equal(state.random_vector.float().numpy(), values[list(RANDOM_IDS)])
        for neuron in range(NEURONS):
            counts = state.histogram[neuron].numpy()
            assert np.array_equal(counts, binned(values[:, :, neuron], histogram_edges()))
            for side, polarity in enumerate((1, -1)):
                peaks = (polarity * values[:, :, neuron]).max(axis=1)
                counts = state.peak_histogram[side, neuron].numpy()
                assert np.array_equal(counts, binned(peaks, peak_edges()))


def binned(values: np.ndarray, steps: list[float]) -> np.ndarray:
    """Counts between the edges; a value on an edge belongs to the side away from zero."""
    edges = np.array(steps)
    right = np.searchsorted(edges, values, side="right") - 1
    left = np.searchsorted(edges, values, side="left") - 1
    places = np.where(values > 0, right, left).clip(0, len(edges) - 2)
    return np.bincount(places.ravel(), minlength=len(edges) - 1)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_sums_are_those_of_powers_about_nearly_the_first_activation(model_type: str) -> None:
    own = subject(tiny(model_type))
    truth = every_activation(own, corpus())
    for layer, state in captured(own, corpus(), plan()).items():
        pivot = state.pivot.numpy()
        assert (np.abs(pivot - truth[layer, 0, 0]) <= 2.0**-8 * np.abs(truth[layer, 0, 0])).all()
        assert not state.sums.any()  # the last block has been folded into the exact sums
        centred = truth[layer].astype(np.float64) - pivot
        for power, found in enumerate(state.totals(), start=1):
            sizes = (np.abs(centred) ** power).sum((0, 1))
            assert (np.abs(found - (centred**power).sum((0, 1))) <= 1e-13 * sizes).all()


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_prefix_token_is_fed_and_not_recorded(model_type: str) -> None:
    own, bare = subject(tiny(model_type), prefix_ids=(1,)), subject(tiny(model_type))
    truth = every_activation(own, corpus())
    assert truth.shape == (LAYERS, SEQUENCES, LENGTH, NEURONS)
    assert not np.array_equal(truth, every_activation(bare, corpus()))
    for layer, state in captured(own, corpus(), plan()).items():
        assert np.array_equal(state.random_vector.numpy(), truth[layer][list(RANDOM_IDS)])
        assert np.array_equal(state.extremes[1].numpy(), truth[layer].max((0, 1)))
        assert int(state.histogram[0].sum()) == SEQUENCES * LENGTH


def test_without_the_token_histogram_all_else_is_captured_the_same() -> None:
    own, full = subject(tiny("llama")), plan()
    bare = replace(full, token_histogram=False)
    kept, left = captured(own, corpus(), full)[1], captured(own, corpus(), bare)[1]
    assert left.histogram.shape == (NEURONS, 0)
    left.histogram = kept.histogram
    assert everything(left, bare) == everything(kept, full)


def test_all_kernels_capture_the_same() -> None:
    own = subject(tiny("llama"))
    compiled, reference, batched = (
        capture(own, corpus(), plan=plan(), layers=[1], progress=SilentProgress(), kernel_name=name)[1]
        for name in ("compiled", "reference", "batched")
    )
    np.testing.assert_allclose(batched.totals(), reference.totals(), rtol=1e-12)
    batched.limbs, batched.limb_top = reference.limbs, reference.limb_top
    assert everything(batched, plan()) == everything(reference, plan())
    assert everything(compiled, plan()) == everything(reference, plan())


def test_sequences_of_any_batch_size_give_the_same_state() -> None:
    truth = every_activation(subject(tiny()), corpus(), batch=3)
    if not np.array_equal(truth, every_activation(subject(tiny()), corpus())):
        pytest.skip("this machine's matrix products depend on the batch size")
    small = captured(subject(tiny(), batch=3), corpus(), plan())[0]
    large = captured(subject(tiny()), corpus(), plan())[0]
    assert everything(small, plan()) == everything(large, plan())


def test_layers_come_in_order_and_progress_counts_sequences() -> None:
    progress = SilentProgress()
    states = capture(subject(tiny()), corpus(), plan=plan(), layers=[1, 0], progress=progress)
    assert list(states) == [0, 1]
    assert progress.done == progress.totals == {"capture tiny": SEQUENCES}


def test_layers_after_the_last_selected_one_run_only_for_the_check() -> None:
    model = tiny()
    runs = [0, 0]
    for layer, block in enumerate(model.transformer.h):

        def count(_module: object, _inputs: object, layer: int = layer) -> None:
            runs[layer] += 1

        block.register_forward_pre_hook(count)
    capture(subject(model), corpus(), plan=plan(), layers=[0], progress=SilentProgress())
    batches = 3 * 3 + 1  # of 7, 7 and 6 in each block of 20, and one for the last sequence
    assert runs == [batches + 1, 1]


def test_no_hook_stays_behind() -> None:
    own = subject(tiny())
    captured(own, corpus(), plan())
    modules = [projection.module for projection in down_projections(own.model).values()]
    assert [len(module._forward_pre_hooks) for module in modules] == [0, 0]


def test_a_layer_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(StudyError, match=r"layer 2 has no dense MLP .* 0 to 1"):
        capture(subject(tiny()), corpus(), plan=plan(), layers=[0, 2], progress=SilentProgress())


@pytest.mark.parametrize(
    ("model_type", "changes", "why"),
    [("mixtral", {"num_local_experts": 2}, "banks of experts"), ("mamba", {}, "has no dense MLP")],
)
def test_models_without_dense_mlps_are_refused(model_type: str, changes: dict[str, int], why: str) -> None:
    own = subject(random_subject(model_type, **changes))
    with pytest.raises(SubjectError, match=why):
        captured(own, corpus(), plan())


def test_a_token_beyond_the_embedding_is_refused_before_the_pass() -> None:
    tokens = corpus()
    tokens[60, 7] = VOCABULARY
    with pytest.raises(SubjectError, match=r"tokenizer does not fit the model.* token 31, .* rows 0 to 30"):
        captured(subject(tiny()), tokens, plan())


def test_a_vocabulary_larger_than_the_embedding_is_fine_where_no_text_uses_the_rest() -> None:
    tokens = corpus().clamp(max=28)
    assert captured(subject(tiny(vocab_size=29)), tokens, plan())


def test_tokens_that_the_model_lacks_are_named_by_id_and_text() -> None:
    tokens = corpus().clamp(max=27)
    tokens[3, 1], tokens[4, 1] = 28, 30
    wanted = r"holds token 28 \('.+'\), token 30 \('.+'\), .* rows 0 to 27; leave texts with these out"
    with pytest.raises(SubjectError, match=wanted):
        captured(subject(tiny(vocab_size=28)), tokens, plan())


def test_a_prefix_token_beyond_the_embedding_is_refused() -> None:
    with pytest.raises(SubjectError, match=r"the prefix holds token 99, .* rows 0 to 30; give a token"):
        captured(subject(tiny(), prefix_ids=(99,)), corpus(), plan())


def test_sequences_longer_than_the_model_has_positions_for_are_refused() -> None:
    model = tiny(n_positions=LENGTH)
    captured(subject(model), corpus(), plan())
    with pytest.raises(StudyError, match=r"8 tokens with 1 before them exceed the 8 positions of tiny"):
        captured(subject(model, prefix_ids=(1,)), corpus(), plan())


def study(layers: int, neurons: int) -> Study:
    size = {"model": "org/tiny", "layers": layers, "neurons_per_layer": neurons}
    return tiny_study(subject=size, explainers={"token_list": {}})


def test_a_study_of_the_models_size_passes() -> None:
    check_size(study(LAYERS, NEURONS), subject(tiny()))


def test_another_number_of_layers_is_refused_with_both_numbers() -> None:
    with pytest.raises(
        StudyError, match=r"subject.layers = 3, but org/tiny has 2 layers .*set subject.layers = 2"
    ):
        check_size(study(3, NEURONS), subject(tiny()))


def test_another_number_of_neurons_is_refused_with_both_numbers() -> None:
    with pytest.raises(
        StudyError, match=r"subject.neurons_per_layer = 96, but layer 0 of org/tiny has 24 neurons"
    ):
        check_size(study(LAYERS, 96), subject(tiny()))
