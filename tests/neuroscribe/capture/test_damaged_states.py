"""Files of states that a disk, a tool or a person has changed: refused by name, or without effect."""

from pathlib import Path

import pytest
import torch

from neuroscribe.capture import CapturePlan, Checkpoints, LayerState
from neuroscribe.capture.state import empty_state
from neuroscribe.errors import StoreError
from resources.store.tensors import SafetensorFiles

OPEN = "layer_00.open.safetensors"
OWN = range(60)
PLAN = CapturePlan(1, (1,), (0,))


def small(ranges: tuple[tuple[int, int], ...] = ((0, 40),)) -> LayerState:
    state = empty_state(PLAN, neurons=1, tokens=1)
    state.ranges = ranges
    return state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store's folder of states, with one under way."""
    files(tmp_path / "s").save({0: small()})
    return tmp_path / "s"


def files(folder: Path) -> Checkpoints:
    return Checkpoints(SafetensorFiles(str(folder.parent)), folder.name, "a", corpus="c")


def outcome(folder: Path) -> str:
    """How the capture that wrote the file goes on: from it, from the beginning, or not at all."""
    try:
        found = files(folder).shards([0]), files(folder).is_finished(0), files(folder).resumed([0], OWN)
    except StoreError as error:
        said = str(error)
        return "refused" if f"s/{OPEN}: " in said and "remove" in said else said
    assert found[:2] == ({1: [0]}, False)
    if not found[2]:
        return "begun again"
    assert found[2][0].ranges == ((0, 40),)
    for name, tensor in small().tensors().items():
        assert torch.equal(getattr(found[2][0], name), tensor)
    return "as written"


@pytest.mark.parametrize("step", [25, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bit_that_flips_in_the_header_of_a_state_is_refused_or_changes_nothing(
    folder: Path, step: int
) -> None:
    whole = (folder / OPEN).read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    assert whole.index(b"ranges") < end
    outcomes = {"as written": 0, "begun again": 0, "refused": 0}
    for bit in range(0, 8 * end, step):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        (folder / OPEN).write_bytes(changed)
        outcomes[outcome(folder)] += 1
    # The checksum's own name, without which there is nothing to compare, and the fingerprint and its name.
    assert outcomes["as written"] <= 8 * len("crc32")
    assert outcomes["begun again"] <= 8 * len("fingerprinta")


def test_a_state_that_is_cut_off_anywhere_is_refused(folder: Path) -> None:
    whole = (folder / OPEN).read_bytes()
    for kept in {*range(300), *range(0, len(whole), 97), len(whole) - 1}:
        (folder / OPEN).write_bytes(whole[:kept])
        assert outcome(folder) == "refused"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<html>an error page that is longer than a length</html>",
        b"\xff" * 100,
        b"\0" * 4096,
        b"{}",
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x04\0\0\0\0\0\0\0null",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        b"\x17\0\0\0\0\0\0\0" + b'{"__metadata__":{"a":1}',
        b'\x18\0\0\0\0\0\0\0{"__metadata__":{"a":1}}',
        b'\x0d\0\0\0\0\0\0\0{"x":{"a":1}}',
    ],
)
def test_a_file_that_is_no_state_is_refused_under_a_states_name_and_ignored_under_others(
    folder: Path, content: bytes
) -> None:
    (folder / "layer_01.safetensors").write_bytes(content)  # of a layer that is not asked for
    (folder / "sub").mkdir()
    for name in (
        "notes.txt",
        "layer_0.open.safetensors",
        "layer_٠٠.safetensors",
        "layer_00.open.safetensors~",
    ):
        (folder / name).write_bytes(content)
    assert outcome(folder) == "as written"
    (folder / OPEN).write_bytes(content)
    assert outcome(folder) == "refused"


@pytest.mark.parametrize(
    "ranges", [None, "40", "0-40;50-60", "40-0", "0-40,40-50", "0-", "-", "٠-١", "9" * 5000]
)
def test_what_are_no_ranges_is_refused_though_the_file_is_sound(tmp_path: Path, ranges: str | None) -> None:
    metadata = {"fingerprint": "a"} | ({} if ranges is None else {"ranges": ranges})
    SafetensorFiles(str(tmp_path)).write(f"s/{OPEN}", small().tensors(), metadata)
    own = files(tmp_path / "s")
    for read in (own.shards, lambda layers: own.resumed(layers, OWN)):
        with pytest.raises(
            StoreError, match=r"layer_00\.open.*which are no ranges; remove the file and mater"
        ):
            read([0])


def test_other_tensors_than_those_of_a_state_are_refused(tmp_path: Path) -> None:
    metadata = {"fingerprint": "a", "ranges": "0-40"}
    SafetensorFiles(str(tmp_path)).write(f"s/{OPEN}", {"x": torch.ones(1)}, metadata)
    with pytest.raises(StoreError, match=r"layer_00\.open.*holds other tensors than a state has; remove"):
        files(tmp_path / "s").resumed([0], OWN)


def renamed(folder: Path, old: str, new: str) -> None:
    (folder / f"{old}.safetensors").rename(folder / f"{new}.safetensors")


def test_a_state_under_the_name_of_another_layer_is_refused(folder: Path) -> None:
    files(folder).finish({0: small(((0, 60),)), 1: small(((0, 60),))})
    assert files(folder).finished([0, 1], OWN).keys() == {0, 1}
    renamed(folder, "layer_01", "layer_00")
    with pytest.raises(StoreError, match=r"layer_00\S* holds the state of layer 1, not of layer 0; remove"):
        files(folder).finished([0], OWN)


def test_a_state_of_an_older_version_which_names_no_layer_is_taken_as_it_is_called(tmp_path: Path) -> None:
    metadata = {"fingerprint": "a", "corpus": "c", "ranges": "0-60"}
    SafetensorFiles(str(tmp_path)).write("s/layer_00.safetensors", small().tensors(), metadata)
    assert files(tmp_path / "s").finished([0], OWN)[0].ranges == ((0, 60),)


def test_a_state_under_way_under_the_name_of_a_finished_one_is_refused(folder: Path) -> None:
    renamed(folder, "layer_00.open", "layer_00")
    with pytest.raises(StoreError, match=r"layer_00\S* has taken the sequences 0-40, not 0-60 as its name"):
        files(folder).finished([0], OWN)


def test_a_shard_under_the_name_of_another_is_refused_finished_or_under_way(folder: Path) -> None:
    files(folder).of(3, 4).finish({0: small(((45, 60),))})
    files(folder).of(3, 4).save({0: small(((45, 50),))})
    renamed(folder, "layer_00.shard_3_of_4.open", "layer_00.shard_2_of_3.open")
    renamed(folder, "layer_00.shard_3_of_4", "layer_00.shard_2_of_3")
    for read in (files(folder).of(2, 3).finished, files(folder).of(2, 3).resumed):
        with pytest.raises(
            StoreError, match=r"shard_2_of_3\S* has taken the sequences 45-\d0, not 40-\d0 as"
        ):
            read([0], range(40, 60))


@pytest.mark.parametrize("ranges", ["", "0-80", "0-20,30-40", "20-40"])
def test_a_state_under_way_that_has_not_taken_the_first_of_its_sequences_is_refused(
    tmp_path: Path, ranges: str
) -> None:
    metadata = {"fingerprint": "a", "ranges": ranges}
    SafetensorFiles(str(tmp_path)).write(f"s/{OPEN}", small().tensors(), metadata)
    with pytest.raises(
        StoreError, match=rf"layer_00\.open\S* has taken the sequences {ranges}, not 0-\d0 as"
    ):
        files(tmp_path / "s").resumed([0], OWN)
