import json
import resource
import stat
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from neuroscribe.errors import StoreError
from neuroscribe.ports.stores import TensorStore
from resources.store.tensors import CHECKSUM, SafetensorFiles, Tensors

TENSORS = {
    "values": torch.arange(12, dtype=torch.bfloat16).reshape(3, 4),
    "peaks": torch.tensor([1.5, -0.0, float("inf")]),
    "dead": torch.tensor([True, False, True]),
    "nothing": torch.zeros(0, 64),
}
METADATA = {"study": "tiny", "corpus": "<script>\n\u202e\"'\\\x7f", "seed": "7", "layer": "3"}


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def test_tensors_and_metadata_come_back_as_they_were_written(tmp_path: Path):
    store = SafetensorFiles(str(tmp_path))
    size = store.write("tiny/activations/layer_03.safetensors", TENSORS, METADATA)
    assert size == (tmp_path / "tiny/activations/layer_03.safetensors").stat().st_size
    tensors, metadata = store.read("tiny/activations/layer_03.safetensors")
    assert same(tensors, TENSORS)
    assert metadata == METADATA


def test_the_file_is_plain_safetensors_and_readable_by_others(tmp_path: Path):
    SafetensorFiles(str(tmp_path)).write("a.safetensors", TENSORS, METADATA)
    (tmp_path / "beside").touch()
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata().items() > METADATA.items()
        assert torch.equal(file.get_tensor("peaks"), TENSORS["peaks"])
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.safetensors", "beside")}
    assert len(modes) == 1


def test_views_are_written_as_what_they_show(tmp_path: Path):
    store = SafetensorFiles(str(tmp_path))
    whole = torch.arange(6.0).reshape(2, 3)
    store.write("a.safetensors", {"column": whole[:, 1], "turned": whole.T}, {})
    tensors, metadata = store.read("a.safetensors")
    assert tensors["column"].tolist() == [1.0, 4.0]
    assert tensors["turned"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert metadata == {}


def test_the_same_tensors_give_the_same_bytes_whatever_the_order_they_came_in(tmp_path: Path):
    store = SafetensorFiles(str(tmp_path))
    many = {f"key{n:02d}": str(n) for n in range(20)}
    store.write("a", TENSORS, many)
    store.write("b", dict(reversed(TENSORS.items())), dict(reversed(many.items())))
    data = (tmp_path / "a").read_bytes()
    assert (tmp_path / "b").read_bytes() == data
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == sorted(
        [*many, "crc32"]
    )  # the library's own order differs from run to run


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    store = SafetensorFiles(str(tmp_path))
    store.write("a.safetensors", {"x": torch.ones(2)}, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # a disk that is full after 4 kB
    try:
        with pytest.raises(StoreError, match=r"a\.safetensors: cannot be written"):
            store.write("a.safetensors", {"x": torch.ones(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_below(tmp_path) == ["a.safetensors"]
    assert store.read("a.safetensors")[0]["x"].tolist() == [1.0, 1.0]


def test_an_absent_file_and_a_torn_one_are_named(tmp_path: Path):
    store = SafetensorFiles(str(tmp_path))
    with pytest.raises(StoreError, match=r"gone\.safetensors: is not there; materialise"):
        store.read("gone.safetensors")
    store.write("torn.safetensors", TENSORS, {})
    path = tmp_path / "torn.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"torn\.safetensors: not a whole safetensors file"):
        store.read("torn.safetensors")


def test_a_bit_that_flips_anywhere_in_a_file_is_noticed_when_it_is_read_whole(tmp_path: Path):
    store = SafetensorFiles(str(tmp_path))
    store.write("a.safetensors", {"x": torch.arange(100.0), "y": torch.ones(3)}, {"layer": "7"})
    path = tmp_path / "a.safetensors"
    whole = path.read_bytes()
    name = whole.index(CHECKSUM.encode())  # without it, the file is one that others wrote
    for place in (place for place in range(len(whole)) if not name <= place < name + len(CHECKSUM)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(
            StoreError, match=r"a\.safetensors: (its bytes have changed|not a whole) .* again"
        ):
            store.read("a.safetensors")


def test_a_value_or_metadata_that_changed_is_noticed_and_the_remedy_named(tmp_path: Path):
    store = SafetensorFiles(str(tmp_path))
    store.write("a.safetensors", {"x": torch.arange(100.0)}, {"layer": "7"})
    path = tmp_path / "a.safetensors"
    whole = path.read_bytes()
    for changed in (whole[:-3] + bytes([whole[-3] ^ 64]) + whole[-2:], whole.replace(b'"7"', b'"5"')):
        path.write_bytes(changed)
        with pytest.raises(StoreError, match=r"changed since it was written .* remove the file and material"):
            store.read("a.safetensors")
    # A part is what stands there now.
    path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 64]) + whole[-2:])
    [(tensors, metadata)] = store.read_parts(["a.safetensors"], {"x": (slice(99, 100),)})
    assert tensors["x"].item() != 99.0
    assert metadata == {"layer": "7"}


def test_a_file_without_a_checksum_is_read_as_it_is(tmp_path: Path):
    save_file({"x": torch.ones(2)}, tmp_path / "a.safetensors", {"by": "others"})
    tensors, metadata = SafetensorFiles(str(tmp_path)).read("a.safetensors")
    assert (tensors["x"].tolist(), metadata) == ([1.0, 1.0], {"by": "others"})


def test_a_file_can_be_removed_twice(tmp_path: Path):
    store = SafetensorFiles(str(tmp_path))
    store.write("a/b.safetensors", TENSORS, {})
    assert store.exists("a/b.safetensors")
    store.remove("a/b.safetensors")
    store.remove("a/b.safetensors")
    assert not store.exists("a/b.safetensors")


def test_s3_holds_the_bytes_that_a_disk_holds(tmp_path: Path, bucket: Any):
    local = SafetensorFiles(str(tmp_path))
    remote = SafetensorFiles(bucket.root, endpoint_url=bucket.endpoint_url)
    size = local.write("tiny/a.safetensors", TENSORS, METADATA)
    assert remote.write("tiny/a.safetensors", TENSORS, METADATA) == size
    tensors, metadata = remote.read("tiny/a.safetensors")
    assert same(tensors, TENSORS)
    assert metadata == METADATA
    assert bucket.keys() == ["store/tiny/a.safetensors"]
    stored = bucket.client.get_object(Bucket="neurons", Key="store/tiny/a.safetensors")["Body"].read()
    assert stored == (tmp_path / "tiny/a.safetensors").read_bytes()
    remote.remove("tiny/a.safetensors")
    remote.remove("tiny/a.safetensors")
    assert not remote.exists("tiny/a.safetensors")
    with pytest.raises(StoreError, match="is not there; materialise"):
        remote.read("tiny/a.safetensors")


def test_an_asset_takes_the_resource_as_the_port(tmp_path: Path):
    @dg.asset
    def shard(store: dg.ResourceParam[TensorStore]) -> None:
        store.write("x.safetensors", {"x": torch.ones(1)}, {"by": "asset"})
        assert store.exists("x.safetensors")

    assert dg.materialize([shard], resources={"store": Tensors(root=str(tmp_path))}).success
    assert Tensors(root=str(tmp_path)).read("x.safetensors")[1] == {"by": "asset"}
