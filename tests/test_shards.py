"""Shards of a capture on other processes, and whole activations, through the study and the asset graph."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.shard import main
from neuroscribe.capture.stage import whole_capture
from neuroscribe.capture.whole.reading import is_whole, neuron_activations, sequence_activations
from neuroscribe.errors import StoreError
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study
from neuroscribe.testing.planted import LAYERS
from neuroscribe.testing.planted_study import write_planted_study
from resources.store.tables import Tables
from resources.store.tensors import SafetensorFiles

SEQUENCES = 2200
"""Three blocks, so up to three shards."""
CAPTURED = ("activations/statistics", "neuron_records")
ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


class Store:
    """A study and a store of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.root = folder / name
        self.variables = {
            "NEUROSCRIBE_STUDIES": str(folder / "studies"),
            "NEUROSCRIBE_STORE": str(self.root),
            "NEUROSCRIBE_HUB": "0",
        }
        self.study: Study = read_study(folder / "studies" / "planted.toml")

    def capture(self) -> None:
        environment = Environment.read(self.variables)
        with dg.instance_for_test() as instance:
            defs = build_defs([self.study], environment=environment)
            Launcher(self.study, defs, instance, environment).capture()

    def shard(self, *arguments: str) -> int:
        return main(["planted", *arguments], self.variables)

    def tables(self) -> dict[str, pl.DataFrame]:
        tables = Tables(str(self.root))
        return {name: tables.read("planted", name) for name in CAPTURED}

    def whole(self) -> dict[str, bytes]:
        """The bytes of all blocks of whole activations."""
        folder = self.root / "planted/activations/whole"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}

    def tensors(self) -> list[str]:
        return sorted(path.name for path in (self.root / "planted/activations/tensors").iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    path = write_planted_study(folder, base_url="http://127.0.0.1:9/v1", sequences=SEQUENCES, documents=600)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[llm]", '[capture]\nwhole = "uint8"\n[llm]'), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> Store:
    store = Store(folder, "alone")
    store.capture()
    return store


@pytest.fixture
def begun(folder: Path, alone: Store, tmp_path: Path) -> Store:
    """A store that holds the corpus and nothing else."""
    store = Store(folder, tmp_path.name)
    shutil.copytree(alone.root / "planted/corpus", store.root / "planted/corpus")
    return store


def test_shards_captured_elsewhere_are_merged_to_the_same_tables(alone: Store, begun: Store) -> None:
    assert begun.shard("2", "3") == begun.shard("0", "3") == 0
    assert begun.tensors() == [
        f"layer_0{n}.shard_{shard}_of_3.safetensors" for n in (0, 1) for shard in (0, 2)
    ]
    begun.capture()
    assert begun.tensors() == alone.tensors() == ["layer_00.safetensors", "layer_01.safetensors"]
    for name, frame in alone.tables().items():
        assert begun.tables()[name].equals(frame), name
    assert begun.whole() == alone.whole()


def started(store: Store, shard: int) -> subprocess.Popen[bytes]:
    settings = {
        "NEUROSCRIBE_BATCH_TOKENS": "512",
        "NEUROSCRIBE_CHECKPOINT_SECONDS": "0",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "dagster_project.shard", "planted", str(shard), "2"],
        cwd=ROOT,
        env={**os.environ, **store.variables, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def killed_under_way(store: Store, processes: list[subprocess.Popen[bytes]]) -> None:
    """Kill each shard's process as soon as it has written a checkpoint, and blocks of whole activations."""
    tensors = store.root / "planted/activations/tensors"
    going, tick = dict(enumerate(processes)), threading.Event()
    while going:
        tick.wait(0.01)
        for shard, process in list(going.items()):
            if (
                process.poll() is not None
                or (tensors / f"layer_01.shard_{shard}_of_{len(processes)}.open.safetensors").exists()
            ):
                going.pop(shard).kill()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors.decode()[-2000:]


def test_two_shards_killed_under_way_with_whole_activations_end_in_the_bytes_of_a_calm_run(
    alone: Store, begun: Store
) -> None:
    killed_under_way(begun, [started(begun, shard) for shard in (0, 1)])
    tensors, blocks = begun.tensors(), begun.whole()
    assert [name for name in tensors if not name.startswith(".") and "open" not in name] == []
    assert 0 < len(blocks) < len(alone.whole())

    for process in [started(begun, shard) for shard in (0, 1)]:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()[-2000:]
    shards = [f"layer_0{n}.shard_{shard}_of_2.safetensors" for n in (0, 1) for shard in (0, 1)]
    assert [name for name in begun.tensors() if not name.startswith(".")] == shards
    begun.capture()

    assert begun.whole() == alone.whole()
    for name, frame in alone.tables().items():
        assert begun.tables()[name].equals(frame), name


def test_every_activation_is_stored_on_request_and_agrees_with_the_records(alone: Store) -> None:
    store = SafetensorFiles(str(alone.root))
    folder, capture = whole_capture("planted", 0, store)
    assert is_whole(store, folder, range(LAYERS), SEQUENCES, capture)
    records = alone.tables()["neuron_records"].filter(pl.col("kind") == "top", pl.col("rank") < 2)
    for row in records.iter_rows(named=True):
        own = neuron_activations(store, folder, row["layer"], row["neuron"], fingerprint=capture)
        assert own.shape == (SEQUENCES, 16)
        step = float(own.max() - own.min()) / 255
        found = own[row["sequence_id"]].numpy()
        assert np.abs(found - np.array(row["activations"])).max() <= step
        across = sequence_activations(store, folder, row["layer"], row["sequence_id"], fingerprint=capture)
        assert np.array_equal(across[:, row["neuron"]].numpy(), found)


def test_whole_activations_of_a_layer_that_was_not_captured_are_not_there(begun: Store) -> None:
    with pytest.raises(StoreError, match="layer 1 has not been captured; materialise planted/activations"):
        whole_capture("planted", 1, SafetensorFiles(str(begun.root)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("3", "3"), "shard 3 of 3: 2200 sequences are 3 blocks"), (("0", "9"), "there can be 1 to 3 shards")],
)
def test_a_shard_that_there_cannot_be_is_refused(
    begun: Store, arguments: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begun.shard(*arguments) == 1
    assert said in capsys.readouterr().err


def test_a_shard_without_a_corpus_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Store(folder, tmp_path.name).shard("0", "3") == 1
    assert (
        "holds no corpus of study planted as it stands; materialise planted/corpus first"
        in capsys.readouterr().err
    )
