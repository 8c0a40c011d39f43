"""Files of states that a disk, a tool or a person has changed: refused by name, or without effect."""

from pathlib import Path

import pytest
import torch

from neuroscribe.capture import CapturePlan, Checkpoints, LayerState
from neuroscribe.capture.state import empty_state
from neuroscribe.errors import StoreError
from resources.tensors import SafetensorFiles

OPEN = "layer_00.open.safetensors"
PLAN = CapturePlan(1, (1,), (0,))


def small(ranges: tuple[tuple[int, int], ...] = ((0, 40),)) -> LayerState:
    state = empty_state(PLAN, layer=0, neurons=1, tokens=1, vocabulary=1)
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
        found = files(folder).shards([0]), files(folder).is_finished(0), files(folder).resumed([0])
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


def test_a_bit_that_flips_in_the_header_of_a_state_is_refused_or_changes_nothing(folder: Path) -> None:
    whole = (folder / OPEN).read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    assert whole.index(b"ranges") < end
    outcomes = {"as written": 0, "begun again": 0, "refused": 0}
    for place in range(end):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
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
    for read in (files(tmp_path / "s").shards, files(tmp_path / "s").resumed):
        with pytest.raises(
            StoreError, match=r"layer_00\.open.*which are no ranges; remove the file and mater"
        ):
            read([0])


def test_other_tensors_than_those_of_a_state_are_refused(tmp_path: Path) -> None:
    metadata = {"fingerprint": "a", "ranges": "0-40"}
    SafetensorFiles(str(tmp_path)).write(f"s/{OPEN}", {"x": torch.ones(1)}, metadata)
    with pytest.raises(StoreError, match=r"layer_00\.open.*holds other tensors than a state has; remove"):
        files(tmp_path / "s").resumed([0])
