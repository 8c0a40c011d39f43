"""Layouts beside Parquet: streamed, listed by folder, checked by sha256sum, at a cost per file that stays."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from neuroscribe.errors import StoreError, StudyError
from neuroscribe.kinds import KnownStudy
from neuroscribe.ports.stores import DatasetStore
from neuroscribe.publish.dataset import Published, neuron_dataset
from neuroscribe.publish.layout import Layout, LayoutFile
from neuroscribe.publish.layouts import LAYOUTS, chosen_layouts
from neuroscribe.publish.layouts.parquet import Parquet
from neuroscribe.publish.tables import PublishedTables
from neuroscribe.study.publishing import PublishSpec
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import STATISTICS
from neuroscribe.testing.layouts import NeuronFiles
from neuroscribe.testing.stores import MemoryDatasets

STUDY = KnownStudy.model_validate(
    {
        "name": "tiny",
        "description": "two layers",
        "subject": {"model": "tiny", "layers": 2, "neurons_per_layer": 3},
        "corpus": {"files": "text/*.txt", "sequences": 8},
        "llm": {"model": "tiny-chat"},
        "explainers": {"token_list": {}},
        "simulators": {"embedding": {"explainers": ["token_list"]}},
    }
)
KNOWN: dict[str, Layout] = {**LAYOUTS, "toy": NeuronFiles()}
FIRST = b'{"layer": 0, "neuron": 0, "mean": 0.0}\n'


def statistics(layer: int, neurons: int) -> pl.DataFrame:
    """Rows whose columns hold 0, or nothing where they are lists."""
    zeros: dict[str, object] = {
        column.name: [] if isinstance(column.dtype, pl.List) else 0 for column in STATISTICS.columns
    }
    return STATISTICS.frame([{**zeros, "layer": layer, "neuron": neuron} for neuron in range(neurons)])


class Reader:
    """Tables of two layers, and what was read of them."""

    def __init__(self, neurons: int = 3) -> None:
        self.frames = {layer: statistics(layer, neurons) for layer in (0, 1)}
        self.read: list[int | None] = []

    def tables(self) -> PublishedTables:
        places = [("activations/statistics", layer) for layer in self.frames]
        return PublishedTables(STUDY, places, self._frame, provenance={})

    def _frame(self, table: str, layer: int | None) -> pl.DataFrame:
        assert table == "activations/statistics"
        assert layer is not None
        self.read.append(layer)
        return self.frames[layer]


class Given:
    """A layout of the files that it is given."""

    description = "whatever was given"

    def __init__(self, files: Iterable[LayoutFile], folder: str = "given") -> None:
        self.folder = folder
        self._files = files

    def files(self, tables: PublishedTables) -> Iterator[LayoutFile]:
        yield from self._files


def publish(
    *layouts: Layout, store: DatasetStore | None = None, reader: Reader | None = None
) -> tuple[Published, dict[str, bytes]]:
    memory = MemoryDatasets()
    tables = (reader or Reader()).tables()
    done = neuron_dataset(store or memory, tables, [Parquet(), *layouts], study_fingerprint="f00d")
    return done, memory.datasets.get("tiny", {})


def file(path: str, data: bytes = b"x", *, rows: int | None = None) -> LayoutFile:
    return LayoutFile(path, [data], rows=rows)


def test_a_layout_is_one_entry_of_the_manifest_and_the_tables_are_listed_as_before():
    alone, without = publish()
    done, files = publish(NeuronFiles())
    manifest, before = json.loads(files["manifest.json"]), json.loads(without["manifest.json"])

    sums = files["neurons/SHA256SUMS"]
    assert manifest.pop("folders") == [
        {
            "path": "neurons",
            "description": "a JSON file per neuron, by layer, with its mean activation",
            "files": 6,
            "bytes": 6 * len(FIRST),
            "rows": 6,
            "checksums": "neurons/SHA256SUMS",
            "sha256": hashlib.sha256(sums).hexdigest(),
        }
    ]
    assert manifest["files"][:-1] == before["files"][:-1]  # the last is the card
    assert {**manifest, "files": []} == {**before, "files": []}
    assert (done.rows, done.file_count) == (alone.rows, alone.file_count + 6)
    assert done.bytes - len(files["README.md"]) == alone.bytes - len(without["README.md"]) + 6 * len(FIRST)


def test_a_folders_checksums_are_those_of_its_files_by_path():
    _, files = publish(NeuronFiles())
    assert files["neurons/0/0.json"] == FIRST
    lines = files["neurons/SHA256SUMS"].decode().splitlines()
    paths = ["0/0.json", "0/1.json", "0/2.json", "1/0.json", "1/1.json", "1/2.json"]
    assert lines == [f"{hashlib.sha256(files[f'neurons/{path}']).hexdigest()}  {path}" for path in paths]
    sums = hashlib.sha256(files["neurons/SHA256SUMS"]).hexdigest()
    assert f"{sums}  neurons/SHA256SUMS\n" in files["checksums.txt"].decode()
    assert "neurons/0" not in files["checksums.txt"].decode()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_sha256sum_checks_a_folder_and_names_the_file_that_has_changed(tmp_path: Path):
    _, files = publish(NeuronFiles())
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)

    def checked(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
        command = ["sha256sum", "-c", "--strict", name]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True)

    assert checked(tmp_path, "checksums.txt").returncode == 0
    assert checked(tmp_path / "neurons", "SHA256SUMS").stdout.count(": OK\n") == 6
    (tmp_path / "neurons/1/2.json").write_bytes(FIRST)
    changed = checked(tmp_path / "neurons", "SHA256SUMS")
    assert changed.returncode == 1
    assert "1/2.json: FAILED\n" in changed.stdout


def test_the_card_names_the_folders_and_says_nothing_of_them_where_there_are_none():
    _, files = publish(NeuronFiles())
    card = files["README.md"].decode()
    assert "\n| `neurons/` | 6 | a JSON file per neuron, by layer, with its mean activation |\n" in card
    assert "Other layouts" not in publish()[1]["README.md"].decode()


def test_rows_are_known_only_where_every_file_tells_them():
    done, _ = publish(
        Given([file("a", rows=2), file("b", rows=3)], "one"), Given([file("a", rows=2), file("b")], "two")
    )
    assert [folder.rows for folder in done.folders] == [5, None]


def test_a_layout_without_files_leaves_no_trace():
    assert publish(Given([])) == publish()


class Counted(str):
    """A path that counts how often it is compared or looked up."""

    compared = 0
    hashed = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        assert Counted.compared < 100_000, "each path is compared with many others"
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Counted.hashed += 1
        return str.__hash__(self)


class CountedFiles(NeuronFiles):
    """The same files, with paths that count."""

    def files(self, tables: PublishedTables) -> Iterator[LayoutFile]:
        for each in super().files(tables):
            yield replace(each, path=Counted(each.path))


def test_the_check_of_twenty_thousand_paths_is_a_few_lookups_for_each():
    Counted.compared = Counted.hashed = 0
    done, files = publish(CountedFiles(), reader=Reader(neurons=10_000))
    assert done.folders[0].files == 20_000
    assert files["neurons/SHA256SUMS"].count(b"\n") == 20_000
    assert Counted.compared <= 2 * 20_000
    assert 20_000 <= Counted.hashed <= 8 * 20_000


def test_the_manifest_does_not_grow_with_the_number_of_files():
    sizes = [len(publish(NeuronFiles(), reader=Reader(neurons=n))[1]["manifest.json"]) for n in (100, 900)]
    assert abs(sizes[1] - sizes[0]) < 20  # digits of the numbers


class Witness:
    """A store that notes what it is given, piece by piece."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    @contextmanager
    def draft(self, study: str) -> Iterator[Callable[[str, Iterable[bytes]], None]]:
        def write(path: str, chunks: Iterable[bytes]) -> None:
            for chunk in chunks:
                self.events.append(f"{path} got {chunk.decode()}" if path.startswith("given/") else path)

        yield write

    def uri(self, study: str) -> str:
        return "nowhere"


def test_a_piece_is_made_only_when_the_one_before_is_written():
    events: list[str] = []

    def pieces(name: str) -> Iterator[bytes]:
        for number in range(2):
            events.append(f"{name}{number} is made")
            yield f"{name}{number}".encode()

    files = (LayoutFile(name, pieces(name)) for name in "ab")
    publish(Given(files), store=Witness(events))
    given = [event for event in events if " " in event and "SUMS" not in event]
    assert given == [
        "a0 is made", "given/a got a0", "a1 is made", "given/a got a1",
        "b0 is made", "given/b got b0", "b1 is made", "given/b got b1",
    ]  # fmt: skip


def test_a_layer_is_read_once_per_layout_and_none_for_the_numbers_alone():
    reader = Reader()
    publish(NeuronFiles(), reader=reader)
    assert reader.read == [0, 1, 0, 1]


def test_the_order_of_reading_changes_no_number():
    reader = Reader()
    turned = reader.tables()
    turned.read("activations/statistics", 1)
    assert turned.totals() == Reader().tables().totals()
    assert reader.read == [1, 0]


@pytest.mark.parametrize(
    ("table", "layer", "finding"),
    [
        ("scores", 0, "scores of layer 0"),
        ("activations/statistics", None, "no table activations/statistics;"),
    ],
)
def test_a_layout_reads_only_what_is_published(table: str, layer: int | None, finding: str):
    with pytest.raises(StoreError, match=f"the dataset of study tiny has .*{finding}"):
        Reader().tables().read(table, layer)
    assert Reader().tables().layers("scores") == []


@pytest.mark.parametrize(
    ("paths", "finding"),
    [
        (["../x"], "'../x' is no path inside the folder given/ of a dataset"),
        (["/etc/x"], "'/etc/x' is no path inside"),
        (["a", "b", "a"], "two files of the dataset are called given/a;"),
        (["SHA256SUMS"], "two files of the dataset are called given/SHA256SUMS;"),
        (["a/b", "a"], "given/a would be a file and a folder"),
    ],
)
def test_a_layouts_bad_path_is_refused_and_nothing_is_published(paths: list[str], finding: str):
    store = MemoryDatasets()
    with pytest.raises(StoreError, match=finding):
        publish(Given([file(path) for path in paths]), store=store)
    assert store.datasets == {}


@pytest.mark.parametrize("folder", ["data", "data/more", "README.md", "manifest.json", "../data", ""])
def test_a_layout_has_a_folder_of_its_own(folder: str):
    with pytest.raises(StoreError, match=r"of the dataset|inside a dataset"):
        publish(Given([file("a")], folder))


def study_with(*layouts: str) -> Study:
    return STUDY.model_copy(update={"publish": PublishSpec(layouts=layouts)})


def test_a_study_names_its_layouts_and_their_order_means_nothing():
    assert [layout.folder for layout in chosen_layouts(STUDY)] == ["data"]
    for names in (("parquet", "toy"), ("toy", "parquet")):
        assert [layout.folder for layout in chosen_layouts(study_with(*names), KNOWN)] == ["data", "neurons"]


def test_an_unknown_layout_is_named_with_the_known_ones():
    with pytest.raises(StudyError, match=r"tiny: publish\.layouts names 'toi', .* parquet, toy; correct"):
        chosen_layouts(study_with("parquet", "toi"), KNOWN)


def test_every_layout_has_a_name_a_folder_and_a_sentence_of_its_own():
    assert all(isinstance(layout, Layout) for layout in KNOWN.values())
    assert len({layout.folder for layout in LAYOUTS.values()}) == len(LAYOUTS)
    assert all(layout.description for layout in LAYOUTS.values())
