from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroscribe.capture.whole.reading import neuron_activations, sequence_activations
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import StoreError
from neuroscribe.ports.stores import TensorStore
from neuroscribe.testing.stores import MemoryTensors
from resources.store.tensors import FIRST_BYTES, SafetensorFiles, Tensors
from tests.resources.store.wires import Wire

TENSORS = {
    "values": torch.arange(24, dtype=torch.bfloat16).reshape(4, 3, 2),
    "low": torch.tensor([0.0, 1.0, 2.0, 3.0]),
    "dead": torch.tensor([True, False, True, False]),
    "nothing": torch.zeros(0, 64),
    "scalar": torch.tensor(5.0),
}
LARGE = torch.arange(2_000_000, dtype=torch.float32).reshape(1000, 20, 100)
"""8 MB, of which a row is 8 kB."""


@pytest.fixture
def wire(bucket: Any) -> Iterator[Wire]:
    with closing(Wire(int(bucket.endpoint_url.rpartition(":")[2]))) as wire:
        yield wire


@pytest.fixture(params=["disk", "s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TensorStore:
    match request.param:
        case "disk":
            return Tensors(root=str(tmp_path))
        case "s3":
            bucket = request.getfixturevalue("bucket")
            return Tensors(root=bucket.root, endpoint_url=bucket.endpoint_url)
        case _:
            return MemoryTensors()


def test_a_part_is_what_the_slices_show_of_the_whole(store: TensorStore):
    store.write("a/b.safetensors", TENSORS, {"layer": "3"})
    parts = {"values": (slice(1, 3),), "low": (slice(3, None),), "dead": (slice(1),), "nothing": (slice(1),)}
    [(tensors, metadata)] = store.read_parts(["a/b.safetensors"], parts)
    assert tensors["values"].tolist() == [[[6, 7], [8, 9], [10, 11]], [[12, 13], [14, 15], [16, 17]]]
    assert (tensors["values"].dtype, tensors["dead"].dtype) == (torch.bfloat16, torch.bool)
    assert (tensors["low"].tolist(), tensors["dead"].tolist()) == ([3.0], [True])
    assert tensors["nothing"].shape == (0, 64)
    assert metadata == {"layer": "3"}


def test_further_slices_cut_the_rows(store: TensorStore):
    store.write("a.safetensors", TENSORS, {})
    parts = {"values": (slice(None), slice(2, 3), slice(1)), "low": (slice(1, 2),), "scalar": ()}
    [(tensors, metadata)] = store.read_parts(["a.safetensors"], parts)
    assert tensors["values"].tolist() == [[[4.0]], [[10.0]], [[16.0]], [[22.0]]]
    assert (tensors["low"].tolist(), tensors["scalar"].item(), metadata) == ([1.0], 5.0, {})


def test_slices_beyond_the_end_take_what_is_there(store: TensorStore):
    store.write("a.safetensors", TENSORS, {})
    [(tensors, _)] = store.read_parts(["a.safetensors"], {"low": (slice(3, 9),), "values": (slice(7, 9),)})
    assert tensors["low"].tolist() == [3.0]
    assert tensors["values"].shape == (0, 3, 2)


def test_parts_of_many_files_come_in_the_order_asked_for(store: TensorStore):
    for n in range(3):
        store.write(f"{n}.safetensors", {"x": torch.tensor([n, n + 10])}, {"n": str(n)})
    paths = ["2.safetensors", "0.safetensors", "1.safetensors"]
    found = store.read_parts(paths, {"x": (slice(1, 2),)})
    assert [(tensors["x"].tolist(), metadata["n"]) for tensors, metadata in found] == [
        ([12], "2"),
        ([10], "0"),
        ([11], "1"),
    ]
    assert store.read_parts(paths[:1], {}) == [({}, {"n": "2"})]
    assert store.read_parts([], {"x": (slice(1),)}) == []


def test_metadata_comes_alone_however_long_the_header_is(store: TensorStore):
    long = {"note": "é" * FIRST_BYTES, "form": "bf16"}
    store.write("long.safetensors", TENSORS, long)
    store.write("short.safetensors", TENSORS, {})
    assert store.metadata("long.safetensors") == long
    assert store.metadata("short.safetensors") == {}
    both = store.read_parts(["short.safetensors", "long.safetensors"], {"low": (slice(1, 2),)})
    assert [tensors["low"].tolist() for tensors, _ in both] == [[1.0], [1.0]]


def test_an_absent_file_is_named_among_those_that_are_there(store: TensorStore):
    store.write("a.safetensors", TENSORS, {})
    for parts in ({}, {"low": (slice(1),)}, {"values": (slice(1), slice(1))}):
        with pytest.raises(StoreError, match=r"gone\.safetensors: is not there; materialise"):
            store.read_parts(["a.safetensors", "gone.safetensors"], parts)
    with pytest.raises(StoreError, match=r"gone\.safetensors: is not there; materialise"):
        store.metadata("gone.safetensors")


def test_the_names_in_a_folder_are_its_own_files(store: TensorStore):
    for path in ("a/x/2.safetensors", "a/x/1.safetensors", "a/y/3.safetensors"):
        store.write(path, {"x": torch.ones(1)}, {})
    assert store.names("a/x") == ["1.safetensors", "2.safetensors"]
    assert store.names("a/z") == []


@pytest.mark.parametrize("slices", [(slice(1),), (slice(1), slice(1))])
def test_a_tensor_that_a_file_lacks_is_named(tmp_path: Path, slices: tuple[slice, ...]):
    store = SafetensorFiles(str(tmp_path))
    store.write("a.safetensors", TENSORS, {})
    with pytest.raises(StoreError, match=r"a\.safetensors: .* tensor '?step'?.*; remove it"):
        store.read_parts(["a.safetensors"], {"step": slices})


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
@pytest.mark.parametrize("slices", [(slice(3, 4),), (slice(3, 4), slice(1))])
def test_a_torn_file_is_named_when_the_part_is_gone(tmp_path: Path, kept: int, slices: tuple[slice, ...]):
    store = SafetensorFiles(str(tmp_path))
    store.write("torn.safetensors", {"values": TENSORS["values"]}, {})
    path = tmp_path / "torn.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StoreError, match=r"torn\.safetensors: not a whole safetensors file"):
        store.read_parts(["torn.safetensors"], {"values": slices})


def test_from_s3_comes_little_more_than_the_rows_asked_for(bucket: Any, wire: Wire):
    size = SafetensorFiles(bucket.root, endpoint_url=bucket.endpoint_url).write("a", {"x": LARGE}, {"n": "1"})
    remote = SafetensorFiles(bucket.root, endpoint_url=wire.address)
    assert remote.metadata("a") == {"n": "1"}
    after_metadata = wire.received
    [(tensors, _)] = remote.read_parts(["a"], {"x": (slice(700, 702),)})
    assert torch.equal(tensors["x"], LARGE[700:702])
    assert size > 8_000_000
    assert FIRST_BYTES < after_metadata < FIRST_BYTES + 2_000  # answers have headers of their own
    assert 16_000 < wire.received - after_metadata < 16_000 + FIRST_BYTES + 4_000


def test_from_s3_further_slices_bring_the_rows_between_them_too(bucket: Any, wire: Wire):
    SafetensorFiles(bucket.root, endpoint_url=bucket.endpoint_url).write("a", {"x": LARGE}, {})
    remote = SafetensorFiles(bucket.root, endpoint_url=wire.address)
    [(tensors, _)] = remote.read_parts(["a"], {"x": (slice(0, 100), slice(5, 6))})
    assert torch.equal(tensors["x"], LARGE[:100, 5:6])
    assert tensors["x"].untyped_storage().nbytes() == 100 * 100 * 4
    assert 800_000 < wire.received < 900_000  # of 8 MB


def test_one_neuron_or_sequence_of_a_layer_on_s3_comes_without_the_others(bucket: Any, wire: Wire):
    layer = torch.arange(48.0)[:, None, None] + torch.zeros(48, 64, 512)
    layer[:, :, 7] += 100
    writer = WholeActivations(
        Tensors(root=bucket.root, endpoint_url=bucket.endpoint_url), "w", "uint8", "f", 16
    )
    writer.add(0, layer, 0)
    writer.finish(0, len(layer))
    remote = Tensors(root=bucket.root, endpoint_url=wire.address)
    neuron = neuron_activations(remote, "w", 0, 7, fingerprint="f")
    after_neuron = wire.received
    torch.testing.assert_close(neuron, layer[:, :, 7], rtol=0, atol=0.03)
    assert after_neuron < 48_000 < 1_572_864 == layer.numel()  # three blocks of half a million bytes
    torch.testing.assert_close(
        sequence_activations(remote, "w", 0, 40, fingerprint="f"), layer[40], rtol=0, atol=0.03
    )
    assert wire.received - after_neuron < 550_000  # one block
