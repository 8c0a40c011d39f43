from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from neuroscribe.capture.state import BLOCK
from neuroscribe.capture.whole.blocks import BLOCK_SEQUENCES, ERRORS, Form, block_path
from neuroscribe.capture.whole.reading import (
    is_whole,
    neuron_activations,
    sequence_activations,
    stored_sequences,
)
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import CaptureError, StoreError
from neuroscribe.testing.stores import MemoryTensors
from resources.store.tensors import SafetensorFiles

FORMS: tuple[Form, ...] = ("bf16", "uint8")
ACTIVATIONS = torch.arange(10 * 2 * 3.0).reshape(10, 2, 3)
"""Ten sequences of two tokens for three neurons; all values are whole and below 256, so exact in bfloat16."""


def stored(
    activations: Tensor,
    *,
    form: Form = "bf16",
    batch: int = 3,
    store: MemoryTensors | None = None,
    fingerprint: str = "f",
    block: int = 4,
) -> MemoryTensors:
    """Return a store with layer 5 of a capture in batches."""
    store = store or MemoryTensors()
    writer = WholeActivations(store, "study/whole", form, fingerprint, block)
    for first in range(0, len(activations), batch):
        writer.add(5, activations[first : first + batch], first)
    writer.finish(5, len(activations))
    return store


def test_blocks_are_cut_at_multiples_whatever_the_batches_are():
    one_by_one = stored(ACTIVATIONS, batch=1)
    assert one_by_one.written == [block_path("study/whole", 5, number) for number in range(3)]
    assert block_path("study/whole", 5, 2) == "study/whole/layer_05/block_000002.safetensors"
    for batch in (2, 3, 4, 9, 10):
        for path, (tensors, metadata) in stored(ACTIVATIONS, batch=batch).files.items():
            assert torch.equal(tensors["values"], one_by_one.files[path][0]["values"])
            assert metadata == one_by_one.files[path][1]


def test_a_block_is_neuron_major_and_says_what_it_is():
    tensors, metadata = stored(ACTIVATIONS).read(block_path("study/whole", 5, 2))
    values = tensors["values"]
    assert values.dtype == torch.bfloat16
    assert values.tolist() == [[[48, 51], [54, 57]], [[49, 52], [55, 58]], [[50, 53], [56, 59]]]
    assert metadata == {
        "fingerprint": "f",
        "layer": "5",
        "form": "bf16",
        "error": ERRORS["bf16"],
        "first_sequence": "8",
        "sequences": "2",
        "block": "4",
        "neurons": "3",
    }


def test_eight_bits_keep_the_lowest_value_and_the_step_of_each_neuron_in_a_block():
    activations = torch.tensor([[[-1.0, 7.0]], [[50.0, 7.0]], [[0.15, 7.0]]])
    tensors, metadata = stored(activations, form="uint8").read(block_path("study/whole", 5, 0))
    assert tensors["low"].tolist() == [-1.0, 7.0]
    torch.testing.assert_close(tensors["step"], torch.tensor([0.2, 0.0]))
    assert tensors["values"].dtype == torch.uint8
    assert tensors["values"].tolist() == [[[0], [255], [6]], [[0], [0], [0]]]  # 1.15 / 0.2 = 5.75
    assert metadata["error"] == ERRORS["uint8"]


@pytest.mark.parametrize("form", FORMS)
def test_neurons_and_sequences_come_back(form: Form):
    store = stored(ACTIVATIONS, form=form)
    for neuron in range(3):
        found = neuron_activations(store, "study/whole", 5, neuron, fingerprint="f")
        torch.testing.assert_close(found, ACTIVATIONS[:, :, neuron], rtol=0, atol=0.05)
    for sequence in range(10):
        found = sequence_activations(store, "study/whole", 5, sequence, fingerprint="f")
        torch.testing.assert_close(found, ACTIVATIONS[sequence], rtol=0, atol=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_a_disk_gives_the_same_values_as_memory(tmp_path: Path, form: Form):
    memory = stored(ACTIVATIONS, form=form)
    disk = SafetensorFiles(str(tmp_path))
    for path, (tensors, metadata) in memory.files.items():
        disk.write(path, tensors, metadata)
    for n in range(3):
        ours = neuron_activations(disk, "study/whole", 5, n, fingerprint="f")
        assert torch.equal(ours, neuron_activations(memory, "study/whole", 5, n, fingerprint="f"))
        ours = sequence_activations(disk, "study/whole", 5, 4 * n, fingerprint="f")
        assert torch.equal(ours, sequence_activations(memory, "study/whole", 5, 4 * n, fingerprint="f"))


FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays("float32", (3, 2, 2), elements=FLOATS))
def test_bfloat16_is_off_by_at_most_two_to_the_minus_eight_of_the_value(drawn):
    activations = torch.from_numpy(drawn)
    store = stored(activations)
    for neuron in range(2):
        truth = activations[:, :, neuron].double()
        error = (neuron_activations(store, "study/whole", 5, neuron, fingerprint="f").double() - truth).abs()
        # Numbers below 2^-126 have fewer digits, the last of which is worth 2^-133.
        assert bool((error <= (truth.abs() * 2**-8).clamp(min=2**-134)).all())


def test_bfloat16_is_exact_for_a_subject_that_computed_in_it_and_its_bound_is_tight():
    activations = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(
        neuron_activations(stored(activations), "study/whole", 5, 1, fingerprint="f"),
        activations[:, :, 1].float(),
    )
    between = torch.full((1, 1, 1), 1 + 2**-8)
    assert neuron_activations(stored(between), "study/whole", 5, 0, fingerprint="f").item() == 1.0


@given(arrays("float32", (3, 2, 2), elements=FLOATS))
def test_eight_bits_are_off_by_at_most_half_a_step(drawn):
    activations = torch.from_numpy(drawn)
    store = stored(activations, form="uint8")
    for neuron in range(2):
        truth = activations[:, :, neuron].double()
        error = (neuron_activations(store, "study/whole", 5, neuron, fingerprint="f").double() - truth).abs()
        half_step = (truth.max() - truth.min()) / 255 / 2
        # A step below the smallest float32, 2^-149, is lost.
        rounding = truth.abs().max() * 2**-22 + 2**-141
        assert bool((error <= half_step + rounding).all())


@given(FLOATS)
def test_a_constant_neuron_is_exact_in_eight_bits(value: float):
    store = stored(torch.full((5, 2, 1), value), form="uint8")
    assert neuron_activations(store, "study/whole", 5, 0, fingerprint="f").unique().tolist() == [value]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_eight_bits_are_taken_from_any_precision(dtype: torch.dtype):
    store = stored(ACTIVATIONS.to(dtype), form="uint8")
    found = neuron_activations(store, "study/whole", 5, 2, fingerprint="f")
    torch.testing.assert_close(found, ACTIVATIONS[:, :, 2], rtol=0, atol=0.05)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_what_has_no_256_steps_is_refused_with_its_neuron(bad: float):
    activations = torch.full((2, 1, 3), -3e38)
    activations[1, 0, 2] = bad
    with pytest.raises(CaptureError, match=r"layer 5, neuron 2: .* run the subject in another dtype"):
        stored(activations, form="uint8")


def test_sequences_come_once_and_in_order():
    writer = WholeActivations(MemoryTensors(), "w", "bf16", "f", block=4)
    with pytest.raises(CaptureError, match=r"layer 5: the first sequence added is 6, inside .* go on at 4"):
        writer.add(5, ACTIVATIONS[6:7], 6)
    writer.add(5, ACTIVATIONS[:3], 0)
    for first in (2, 4, 0):
        with pytest.raises(CaptureError, match=f"sequence {first} came where 3 was expected"):
            writer.add(5, ACTIVATIONS[:1], first)
    writer.add(5, ACTIVATIONS[3:5], 3)
    writer.add(6, ACTIVATIONS[:1], 0)  # another layer has its own order


@pytest.mark.parametrize("form", FORMS)
def test_a_capture_that_goes_on_at_a_block_writes_the_same_bytes(tmp_path: Path, form: Form):
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}

    writer = WholeActivations(SafetensorFiles(str(tmp_path)), "w", form, "f", 4)
    writer.add(5, ACTIVATIONS, 0)
    writer.finish(5, 10)
    before = contents()
    writer.add(5, ACTIVATIONS[4:7], 4)
    writer.add(5, ACTIVATIONS[7:], 7)
    writer.finish(5, 10)
    assert len(before) == 3
    assert contents() == before


def test_batches_may_come_from_inside_and_outside_a_pass():
    writer = WholeActivations(store := MemoryTensors(), "w", "bf16", "f", block=8)
    with torch.inference_mode():
        writer.add(0, ACTIVATIONS[:4].clone(), 0)
    writer.add(0, ACTIVATIONS[4:], 4)
    writer.finish(0, 10)
    assert torch.equal(neuron_activations(store, "w", 0, 0, fingerprint="f"), ACTIVATIONS[:, :, 0])


def test_a_shorter_capture_leaves_nothing_of_a_longer_one():
    store = stored(ACTIVATIONS[:5], store=stored(ACTIVATIONS, fingerprint="old"), fingerprint="new")
    assert sorted(store.files) == [block_path("study/whole", 5, number) for number in (0, 1)]
    assert neuron_activations(store, "study/whole", 5, 0, fingerprint="new").shape == (5, 2)


def test_what_is_not_stored_is_answered_with_what_is():
    store = stored(ACTIVATIONS)
    with pytest.raises(StoreError, match=r"layer_06: no whole activations of layer 6 .* capture.whole"):
        neuron_activations(store, "study/whole", 6, 0, fingerprint="f")
    for neuron in (-1, 3):
        with pytest.raises(StoreError, match=f"layer_05: neuron {neuron} is not stored; it holds 0 to 2"):
            neuron_activations(store, "study/whole", 5, neuron, fingerprint="f")
    for sequence in (-1, 10):
        with pytest.raises(StoreError, match=f"sequence {sequence} is not stored; it holds 0 to 9"):
            sequence_activations(store, "study/whole", 5, sequence, fingerprint="f")


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_block_is_named(missing: int):
    store = stored(ACTIVATIONS)
    store.remove(block_path("study/whole", 5, missing))
    for read in (neuron_activations, sequence_activations):
        with pytest.raises(
            StoreError, match=f"block_00000{missing}.* is missing, .* materialise activations"
        ):
            read(store, "study/whole", 5, 0, fingerprint="f")


@pytest.mark.parametrize(("number", "sequence"), [(0, 9), (1, 4), (2, 0)])
def test_a_block_of_another_capture_is_named_and_not_read(number: int, sequence: int):
    store, other = stored(ACTIVATIONS), stored(ACTIVATIONS, fingerprint="g")
    path = block_path("study/whole", 5, number)
    store.files[path] = other.files[path]
    for read, asked in ((neuron_activations, 0), (sequence_activations, sequence)):
        with pytest.raises(
            StoreError,
            match=f"block_00000{number}.*: is of layer 5 of capture g, not of layer 5 of capture f; .* again",
        ):
            read(store, "study/whole", 5, asked, fingerprint="f")


def test_a_folder_of_another_capture_than_the_one_asked_for_is_not_read():
    for read in (neuron_activations, sequence_activations):
        with pytest.raises(StoreError, match="is of layer 5 of capture f, not of layer 5 of capture g; ask"):
            read(stored(ACTIVATIONS), "study/whole", 5, 0, fingerprint="g")


def test_a_block_of_another_layer_is_not_read():
    store = stored(ACTIVATIONS)
    writer = WholeActivations(store, "study/whole", "bf16", "f", 4)
    writer.add(6, ACTIVATIONS, 0)
    writer.finish(6, 10)
    store.files[block_path("study/whole", 5, 1)] = store.files[block_path("study/whole", 6, 1)]
    for read, asked in ((neuron_activations, 0), (sequence_activations, 5)):
        with pytest.raises(
            StoreError, match=r"block_000001.*: is of layer 6 of capture f, not of layer 5 of"
        ):
            read(store, "study/whole", 5, asked, fingerprint="f")
    assert stored_sequences(store, "study/whole", [5], "f", 4) == 4


def test_a_block_that_does_not_begin_where_the_one_before_ended_is_named():
    store = stored(ACTIVATIONS)
    store.files[block_path("study/whole", 5, 1)] = store.files[block_path("study/whole", 5, 2)]
    for read, asked in ((neuron_activations, 0), (sequence_activations, 4)):
        with pytest.raises(StoreError, match=r"block_000001.* begins with sequence 8 where 4 was expected"):
            read(store, "study/whole", 5, asked, fingerprint="f")


def test_a_capture_is_whole_with_all_its_blocks_and_no_others():
    def whole(sequences: int = 10, layers: tuple[int, ...] = (5,), fingerprint: str = "f", block: int = 4):
        return is_whole(store, "study/whole", layers, sequences, fingerprint, block)

    store = stored(ACTIVATIONS)
    assert whole()
    assert not whole(sequences=12)
    assert not whole(sequences=13)
    assert not whole(sequences=8)
    assert not whole(layers=(5, 6))
    assert not whole(fingerprint="g")
    assert not whole(block=3)
    store.remove(block_path("study/whole", 5, 1))
    assert not whole()


def test_a_capture_can_go_on_where_every_layer_is_stored():
    def sequences(*layers: int, fingerprint: str = "f"):
        return stored_sequences(store, "study/whole", layers, fingerprint, 4)

    store = stored(ACTIVATIONS)
    writer = WholeActivations(store, "study/whole", "bf16", "f", 4)
    writer.add(6, ACTIVATIONS, 0)  # and then it is killed
    assert (sequences(5), sequences(6), sequences(5, 6), sequences(5, 7)) == (10, 8, 8, 0)
    assert sequences(5, fingerprint="g") == 0
    store.remove(block_path("study/whole", 5, 1))
    assert sequences(5) == 4


def test_a_capture_that_goes_on_at_a_checkpoint_is_at_the_start_of_a_block():
    assert BLOCK % BLOCK_SEQUENCES == 0
