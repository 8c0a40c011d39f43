import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuroscribe.architectures import down_projections
from neuroscribe.capture import capture, kernel
from neuroscribe.capture.hooks import check_projections
from neuroscribe.capture.reduction import Reduction
from neuroscribe.errors import CaptureError
from neuroscribe.testing.planted import planted_subject, planted_tokenizer
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.stores import SilentProgress
from tests.neuroscribe.capture.scenario import LENGTH, corpus, plan, sorted_slots, subject, tiny

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
    kept = plan(neurons=(0,))
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
        CaptureError, match=r"transformer.h.1.mlp.c_proj: down\(captured\) differs from the MLP"
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
    check_projections(model, down_projections(model), torch.arange(3, 15).reshape(1, 12))


def scarce(fits: int) -> tuple[Any, list[int]]:
    """A model that runs out of memory in its second layer, and the sizes of the batches it was given.

    It has memory for `fits` sequences at a time, and always for the check on the first one.
    """
    model, batches = tiny(), list[int]()

    def allocate(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        batches.append(len(inputs[0]))
        if len(batches) > 1 and len(inputs[0]) > fits:
            raise torch.OutOfMemoryError("scripted")

    model.transformer.h[1].register_forward_pre_hook(allocate)
    return model, batches


@pytest.mark.parametrize("fits", [1, 3, 100])
def test_a_batch_too_large_for_memory_is_halved_and_nothing_is_lost_or_counted_twice(fits: int) -> None:
    tokens, kept = corpus(), plan(neurons=(0,))
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
        for name in ("random_vector", "lookup_sum"):
            found, wanted = (getattr(one, name).numpy() for one in (state, ample[layer]))
            scale = 1 if name == "random_vector" else 2.0**32
            np.testing.assert_allclose(found / scale, wanted / scale, rtol=1e-5, atol=1e-5)
        assert state.sequences == len(tokens)
    assert max(batches[-2:]) <= fits
    told = [note for note in progress.notes if note.startswith("out of memory; on with batches of")]
    assert bool(told) == (fits < 100)


@pytest.mark.parametrize("step", ["_take", "_look_up"])
def test_a_reduction_that_runs_out_of_memory_ends_the_capture_rather_than_lose_a_batch(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(*_arguments: object, **_named: object) -> None:
        raise torch.OutOfMemoryError("scripted")

    # There is no transport between capture and memory where a fake could stand.
    monkeypatch.setattr(kernel if step == "_take" else Reduction, step, allocate)
    with pytest.raises(CaptureError, match=r"layer 0: memory of cpu does not suffice to reduce 7 sequences"):
        run(tiny(), corpus())


def test_memory_for_not_even_one_sequence_is_said_with_what_to_do() -> None:
    with pytest.raises(CaptureError, match=r"does not suffice for one sequence .* fewer layers per run"):
        run(scarce(0)[0], corpus())
