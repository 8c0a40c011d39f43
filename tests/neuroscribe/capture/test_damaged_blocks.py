"""Blocks of whole activations that something has changed: refused by name, or without effect."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neuroscribe.capture.whole.blocks import Form, block_path
from neuroscribe.capture.whole.reading import (
    is_whole,
    neuron_activations,
    sequence_activations,
    stored_sequences,
)
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import StoreError
from neuroscribe.testing.stores import MemoryTensors
from resources.store.tensors import SafetensorFiles

ACTIVATIONS = torch.arange(10 * 2 * 3.0).reshape(10, 2, 3)
MIDDLE, LAST = block_path("w", 5, 1), block_path("w", 5, 2)
"""Of sequences 4 to 7, and of 8 and 9."""


def write(store: SafetensorFiles | MemoryTensors, form: Form = "bf16") -> None:
    writer = WholeActivations(store, "w", form, "f", 4)
    writer.add(5, ACTIVATIONS, 0)
    writer.finish(5, 10)


def answers(store: SafetensorFiles, path: str) -> dict[str, object]:
    """What each reader says: its answer, or that the block is refused by name."""
    readers: dict[str, Callable[[], object]] = {
        "neuron": lambda: neuron_activations(store, "w", 5, 1, fingerprint="f"),
        "sequence": lambda: sequence_activations(store, "w", 5, 9 if path == LAST else 5, fingerprint="f"),
        "whole": lambda: is_whole(store, "w", [5], 10, "f", 4),
        "stored": lambda: stored_sequences(store, "w", [5], "f", 4),
    }
    found: dict[str, object] = {}
    for name, read in readers.items():
        try:
            found[name] = read()
        except StoreError as error:
            found[name] = "refused" if "again" in str(error) or "is not stored" in str(error) else str(error)
    return found


def is_sound(found: dict[str, object], sound: dict[str, object]) -> bool:
    """Tell whether every answer is the right one, a refusal, or a smaller count of what is stored."""

    def same(name: str) -> bool:
        own, right = found[name], sound[name]
        return (
            torch.equal(own, right) if isinstance(own, Tensor) and isinstance(right, Tensor) else own == right
        )

    fewer = isinstance(found["stored"], int) and found["stored"] < 10 and found["whole"] is False
    return all(
        same(name) or found[name] == "refused" or (fewer and name in ("whole", "stored")) for name in found
    )


@pytest.mark.parametrize("path", [MIDDLE, LAST])
@pytest.mark.parametrize("form", ["bf16", "uint8"])
def test_a_bit_that_flips_in_the_header_of_a_block_is_refused_or_changes_nothing(
    tmp_path: Path, form: Form, path: str
) -> None:
    store, file = SafetensorFiles(str(tmp_path)), tmp_path / path
    write(store, form)
    sound, whole = answers(store, path), file.read_bytes()
    for place in range(8 + int.from_bytes(whole[:8], "little")):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        file.write_bytes(changed)
        assert is_sound(found := answers(store, path), sound), (place, found)


@pytest.mark.parametrize("form", ["bf16", "uint8"])
def test_a_block_that_is_cut_off_anywhere_is_not_counted_as_stored(tmp_path: Path, form: Form) -> None:
    store, file = SafetensorFiles(str(tmp_path)), tmp_path / MIDDLE
    write(store, form)
    sound, whole = answers(store, MIDDLE), file.read_bytes()
    for kept in {*range(0, len(whole), 5), len(whole) - 1}:
        file.write_bytes(whole[:kept])
        found = answers(store, MIDDLE)
        assert is_sound(found, sound), (kept, found)
        assert (found["whole"], found["stored"], found["sequence"]) == ("refused", "refused", "refused")


def test_a_folder_in_the_place_of_a_block_is_named(tmp_path: Path) -> None:
    store, file = SafetensorFiles(str(tmp_path)), tmp_path / MIDDLE
    write(store)
    file.unlink()
    file.mkdir()
    for read in (neuron_activations, sequence_activations):
        with pytest.raises(StoreError, match=r"block_000001.*cannot be read"):
            read(store, "w", 5, 2 if read is neuron_activations else 5, fingerprint="f")


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"first_sequence": None}, "says 'nothing' for first_sequence where a number was expected"),
        ({"sequences": "٤"}, "for sequences where a number"),
        ({"sequences": "-4"}, "says '-4' for sequences where a number"),
        ({"block": "0"}, "says 4 sequences from 4 on in blocks of 0"),
        ({"block": "3"}, "says 4 sequences from 4 on in blocks of 3"),
        ({"block": "4" * 5000}, "says '4{40}' for block where a number"),
        ({"sequences": "3"}, r"its values are .* where .*3\) was expected|begins with sequence 8 where 7"),
        ({"form": "int4"}, "says that its form is 'int4', and there is none such"),
        ({"neurons": "4"}, "for form, block and neurons, and the layer's first block"),
    ],
)
def test_a_block_that_says_what_cannot_be_is_named_with_what_it_says(
    changes: dict[str, str | None], finding: str
) -> None:
    store = MemoryTensors()
    write(store)
    tensors, metadata = store.files[MIDDLE]
    changed = {key: value for key, value in {**metadata, **changes}.items() if value is not None}
    store.files[MIDDLE] = tensors, changed
    with pytest.raises(StoreError, match=rf"block_00000[12].*({finding}).*again"):
        neuron_activations(store, "w", 5, 0, fingerprint="f")


def test_a_block_with_sequences_of_another_length_is_named() -> None:
    store = MemoryTensors()
    write(store)
    tensors, metadata = store.files[MIDDLE]
    store.files[MIDDLE] = {"values": tensors["values"][:, :, :1]}, metadata
    with pytest.raises(StoreError, match=r"block_000001.*have 1 tokens, those of the first block 2; remove"):
        neuron_activations(store, "w", 5, 0, fingerprint="f")
