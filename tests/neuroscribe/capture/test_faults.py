import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuroscribe.capture import Checkpoints, capture
from neuroscribe.capture.fit import is_lack_of_memory
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import CaptureError
from neuroscribe.subject.hooks import check_sites
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.testing.planted import planted_subject, planted_tokenizer
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.stores import MemoryTensors, SilentProgress
from tests.neuroscribe.capture.scenario import LENGTH, SEQUENCES, corpus, plan, sorted_slots, subject, tiny

PLAIN_TOKEN, RED = (planted_tokenizer()(text).input_ids[0] for text in (" the", " red"))
SEQUENCE, POSITION = 23, 5


def red_at(sequence: int, position: int) -> torch.Tensor:
    tokens = torch.full((61, LENGTH), PLAIN_TOKEN)
    tokens[sequence, position] = RED
    return tokens


def overflowing(layer: int, sign: int = 1) -> Any:
    """A planted subject whose neuron 9 of a layer overflows on the token " red", and is finite elsewhere.

    GPT-2's GELU of +inf is inf, and that of -inf is nan (-inf times 0).
    """
    model = planted_subject()
    reads = model.transformer.h[layer].mlp.c_fc
    with torch.no_grad():
        colours = reads.weight[:, 9 if layer else 0].sign()
        reads.weight[:, 9] = sign * 3e38 * colours
    return model


def run(
    model: Any, tokens: torch.Tensor, *, prefix_ids: tuple[int, ...] = (), kernel: Any = "compiled"
) -> None:
    own = subject(model, prefix_ids=prefix_ids)
    kept = plan()
    capture(own, tokens, plan=kept, layers=[0, 1], progress=SilentProgress(), kernel_name=kernel)


@pytest.mark.parametrize("kernel", ["compiled", "batched", "reference"])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("prefix_ids", [(), (PLAIN_TOKEN,)])
def test_an_infinite_activation_is_found_at_its_place(
    layer: int, prefix_ids: tuple[int, ...], kernel: str
) -> None:
    where = (
        rf"layer {layer}, neuron 9, sequence {SEQUENCE}, position {POSITION}: the activation is inf; .*dtype"
    )
    with pytest.raises(CaptureError, match=where):
        run(overflowing(layer), red_at(SEQUENCE, POSITION), prefix_ids=prefix_ids, kernel=kernel)


def test_an_infinite_activation_in_the_checked_sequence_is_found_at_its_place_too() -> None:
    with pytest.raises(
        CaptureError, match="layer 0, neuron 9, sequence 0, position 2: the activation is inf"
    ):
        run(overflowing(0), red_at(0, 2))


def test_a_nan_is_found_at_its_place() -> None:
    where = f"layer 1, neuron 9, sequence {SEQUENCE}, position {POSITION}: the activation is nan"
    with pytest.raises(CaptureError, match=where):
        run(overflowing(1, sign=-1), red_at(SEQUENCE, POSITION))


def test_a_nan_that_spreads_through_a_sequence_is_found_in_that_sequence() -> None:
    model, tokens = tiny(), corpus().clamp(max=29)
    with torch.no_grad():
        model.transformer.wte.weight[30] = math.nan
    tokens[SEQUENCE, POSITION] = 30
    with pytest.raises(CaptureError, match=f"layer 0, neuron 0, sequence {SEQUENCE}, .* is nan"):
        run(model, tokens)


def test_a_subject_without_faults_passes() -> None:
    run(planted_subject(), red_at(SEQUENCE, POSITION))


class Doubled(nn.Module):
    """Something an MLP does after its down-projection."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return 2 * values


def test_an_mlp_whose_output_is_not_the_projection_of_what_is_read_is_refused() -> None:
    model = tiny()
    model.transformer.h[1].mlp.dropout = Doubled()
    with pytest.raises(
        CaptureError, match=r"h.1.mlp.c_proj: what it makes of the captured activations differs"
    ):
        run(model, corpus())


def test_a_layer_that_runs_twice_is_refused() -> None:
    model = tiny()
    model.transformer.h.append(model.transformer.h[0])
    with pytest.raises(CaptureError, match=r"h.0.mlp.c_proj was called 2 times .* shared, re-entrant"):
        run(model, corpus())


@pytest.mark.parametrize("model_type", ["bloom", "falcon", "gptj", "opt", "gemma2", "phi3"])
def test_unusual_blocks_pass_the_check(model_type: str) -> None:
    model = random_subject(model_type)
    check_sites(model, MLP_NEURONS.sites(model), torch.arange(3, 15).reshape(1, 12))


ABSURD = 2**50
"""Bytes that no machine has: no address space holds them, however freely a system promises memory."""


def torch_on_a_cpu() -> None:
    torch.empty(ABSURD, dtype=torch.uint8)


def numpy_array() -> None:
    np.empty(ABSURD, dtype=np.uint8)


def torch_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def gpu_library() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def scarce(fits: int, fail: Callable[[], None] = torch_on_a_cpu) -> tuple[Any, list[int]]:
    """A model that runs out of memory in its second layer, and the sizes of the batches it was given.

    It has memory for `fits` sequences at a time, and always for the check on the first one.
    """
    model, batches = tiny(), list[int]()

    def allocate(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        batches.append(len(inputs[0]))
        if len(batches) > 1 and len(inputs[0]) > fits:
            fail()

    model.transformer.h[1].register_forward_pre_hook(allocate)
    return model, batches


@pytest.mark.parametrize("fits", [1, 3, 100])
def test_a_batch_too_large_for_memory_is_halved_and_nothing_is_lost_or_counted_twice(fits: int) -> None:
    tokens, kept = corpus(), plan()
    ample = capture(subject(tiny()), tokens, plan=kept, layers=[0, 1], progress=SilentProgress())
    (model, batches), progress = scarce(fits), SilentProgress()

    states = capture(subject(model), tokens, plan=kept, layers=[0, 1], progress=progress)

    for layer, state in states.items():
        for power, wanted in zip(state.totals(), ample[layer].totals(), strict=True):
            np.testing.assert_allclose(power, wanted, rtol=1e-5, atol=1e-5)
        for side in (0, 1):
            found, wanted = sorted_slots(state, side), sorted_slots(ample[layer], side)
            np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)
        assert int(state.histogram.sum()) == int(ample[layer].histogram.sum())
        found, wanted = (one.random_vector.numpy() for one in (state, ample[layer]))
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        assert state.sequences == len(tokens)
    assert max(batches[-2:]) <= fits
    told = [note for note in progress.notes if note.startswith("out of memory; on with batches of")]
    assert bool(told) == (fits < 100)


@pytest.mark.parametrize("fail", [torch_on_a_cpu, numpy_array, torch_on_a_gpu, gpu_library])
def test_lack_of_memory_is_known_whoever_meets_it(fail: Callable[[], None]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as met:
        fail()
    assert is_lack_of_memory(met.value)
    (model, batches), progress = scarce(3, fail), SilentProgress()
    capture(subject(model), corpus(), plan=plan(), layers=[0, 1], progress=progress)
    assert batches[-1] <= 3
    assert "out of memory; on with batches of 3" in progress.notes


def test_other_failures_of_the_model_are_not_taken_for_lack_of_memory() -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    model, batches = scarce(3, fail)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        capture(subject(model), corpus(), plan=plan(), layers=[0, 1], progress=SilentProgress())
    assert len(batches) == 2


class ScarceTensors(MemoryTensors):
    """Lacks memory at its n-th write of whole activations (from 1), inside the reduction of a batch."""

    def __init__(self, lacking: int) -> None:
        super().__init__()
        self.lacking = lacking

    def write(self, path: str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> int:
        self.lacking -= path.startswith("w/")
        if path.startswith("w/") and self.lacking == 0:
            numpy_array()
        return super().write(path, tensors, metadata)


CHECKPOINT = 20
"""Sequences between checkpoints, which come at every other block of ten."""


def captured_whole(
    lacking: int, *, checkpoints: bool = True, batch: int = 5
) -> tuple[MemoryTensors, dict[int, Any], SilentProgress]:
    store, progress = ScarceTensors(lacking), SilentProgress(rings=2)
    states = capture(
        subject(tiny(), batch=batch),
        corpus(),
        plan=plan(),
        layers=[0, 1],
        progress=progress,
        checkpoints=Checkpoints(store, "s", "a") if checkpoints else None,
        whole=WholeActivations(store, "w", "bf16", "a", block=10),
    )
    return store, states, progress


def test_a_batch_of_one_that_breaks_off_in_the_reduction_ends_the_capture_and_says_what_to_do() -> None:
    with pytest.raises(CaptureError, match=r"does not suffice for one sequence .* fewer layers per run"):
        captured_whole(1, batch=1)


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("lacking", [1, 2, 5, 8, 12])
def test_a_reduction_that_breaks_off_goes_back_to_the_last_checkpoint_and_loses_nothing(
    lacking: int, checkpoints: bool
) -> None:
    ample, wanted, _ = captured_whole(0, checkpoints=checkpoints)
    store, states, progress = captured_whole(lacking, checkpoints=checkpoints)
    reached = (lacking - 1) // 2 * 10 + 5
    back = (reached // CHECKPOINT if checkpoints else 0) * CHECKPOINT
    told = [note for note in progress.notes if note]
    assert told == [f"out of memory; on with batches of 2, again from sequence {back}"]
    assert progress.done == {"capture tiny": SEQUENCES}
    for layer, state in states.items():
        assert state.sequences == SEQUENCES
        assert int(state.histogram.sum()) == int(wanted[layer].histogram.sum())
        np.testing.assert_allclose(state.totals(), wanted[layer].totals(), rtol=1e-5, atol=1e-5)
        for found, ours in zip(sorted_slots(state, 0), sorted_slots(wanted[layer], 0), strict=True):
            np.testing.assert_allclose(found, ours, rtol=1e-5, atol=1e-5)
    assert store.files.keys() == ample.files.keys()
    for path, (tensors, metadata) in ample.files.items():
        assert store.files[path][1] == metadata
        if path.startswith("w/"):
            values = (found["values"].float() for found in (store.files[path][0], tensors))
            torch.testing.assert_close(*values, rtol=2**-7, atol=1e-5)


def test_a_checkpoint_for_which_memory_does_not_suffice_is_left_out_and_the_capture_goes_on() -> None:
    class Scarce(MemoryTensors):
        def write(self, path: str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> int:
            if "open" in path:
                numpy_array()
            return super().write(path, tensors, metadata)

    store, progress = Scarce(), SilentProgress(rings=2)
    points = Checkpoints(store, "s", "a")
    capture(subject(tiny()), corpus(), plan=plan(), layers=[0], progress=progress, checkpoints=points)
    assert sorted(store.files) == ["s/layer_00.safetensors"]
    assert {note for note in progress.notes if note} == {"out of memory; a checkpoint is left out"}


def test_memory_for_not_even_one_sequence_is_said_with_what_to_do() -> None:
    with pytest.raises(CaptureError, match=r"does not suffice for one sequence .* fewer layers per run"):
        run(scarce(0)[0], corpus())
