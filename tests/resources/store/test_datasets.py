import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from neuroscribe.errors import StoreError
from neuroscribe.ports.stores import DatasetStore
from neuroscribe.publish.dataset import Part, neuron_dataset
from neuroscribe.testing.rows import vocabulary_table
from neuroscribe.testing.studies import tiny_study
from resources.store.datasets import DatasetFolders, Datasets
from resources.store.files import Files

STUDY = tiny_study(
    name="tiny",
    description="one table",
    explainers={"token_list": {}},
    simulators={"embedding": {"explainers": ["token_list"]}},
)


def publish(store: DatasetStore, text: str) -> None:
    frame = vocabulary_table([text.encode()])
    parts = [Part("corpus/vocabulary", None, frame)]
    neuron_dataset(store, STUDY, parts, study_fingerprint="f00d", provenance={})


def text_of(root: Path) -> str:
    return pl.read_parquet(root / "tiny/neuron_dataset/data/corpus/vocabulary.parquet")["text"][0]


def versions(root: Path) -> list[str]:
    return [path.name for path in (root / "tiny/.neuron_dataset").iterdir()]


def break_off_after_one_file(store: DatasetStore) -> None:
    with store.draft("tiny") as write:
        write("data/scores/layer_00.parquet", b"new")
        raise RuntimeError("the writer broke off")


def test_a_second_dataset_takes_the_place_of_the_first(tmp_path: Path):
    store = DatasetFolders(str(tmp_path))
    publish(store, "first")
    publish(store, "second")
    assert text_of(tmp_path) == "second"
    assert len(versions(tmp_path)) == 1
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [
        ".neuron_dataset",
        "neuron_dataset",
    ]
    assert store.uri("tiny") == (tmp_path / "tiny/neuron_dataset").as_uri()


def test_a_writer_that_breaks_off_leaves_the_previous_dataset_and_nothing_else(tmp_path: Path):
    store = DatasetFolders(str(tmp_path))
    publish(store, "first")
    with pytest.raises(RuntimeError, match="broke off"):
        break_off_after_one_file(store)
    assert text_of(tmp_path) == "first"
    assert not (tmp_path / "tiny/neuron_dataset/data/scores").exists()
    assert len(versions(tmp_path)) == 1


def test_a_killed_writer_leaves_the_previous_dataset_and_the_next_one_clears_up(tmp_path: Path):
    store = DatasetFolders(str(tmp_path))
    publish(store, "first")
    code = (
        "import os, signal, sys; from resources.store.datasets import DatasetFolders\n"
        "with DatasetFolders(sys.argv[1]).draft('tiny') as write:\n"
        "    write('data/scores/layer_00.parquet', b'new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[3])
    assert killed.returncode == -signal.SIGKILL
    assert text_of(tmp_path) == "first"
    assert len(versions(tmp_path)) == 2
    publish(store, "second")
    assert text_of(tmp_path) == "second"
    assert len(versions(tmp_path)) == 1


def test_a_reader_of_the_old_dataset_can_finish_its_file(tmp_path: Path):
    store = DatasetFolders(str(tmp_path))
    publish(store, "first")
    with (tmp_path / "tiny/neuron_dataset/README.md").open("rb") as card:
        publish(store, "second")
        assert b"one table" in card.read()


def test_a_folder_that_someone_put_there_is_not_overwritten(tmp_path: Path):
    (tmp_path / "tiny/neuron_dataset").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"neuron_dataset: was not published here; move it"):
        publish(DatasetFolders(str(tmp_path)), "first")


def test_a_moved_store_keeps_its_datasets(tmp_path: Path):
    publish(DatasetFolders(str(tmp_path / "here")), "first")
    (tmp_path / "here").rename(tmp_path / "there")
    assert text_of(tmp_path / "there") == "first"


def test_on_s3_the_manifest_says_which_version_counts(bucket: Any):
    store = DatasetFolders(bucket.root, endpoint_url=bucket.endpoint_url)
    files = Files(bucket.root, endpoint_url=bucket.endpoint_url)
    publish(store, "first")
    first = json.loads(files.read("tiny/neuron_dataset/manifest.json"))
    assert all(files.exists(f"tiny/neuron_dataset/{first['base']}{file['path']}") for file in first["files"])
    with pytest.raises(RuntimeError, match="broke off"):
        break_off_after_one_file(store)
    assert json.loads(files.read("tiny/neuron_dataset/manifest.json")) == first
    assert files.names("tiny/neuron_dataset") == sorted([first["base"][:-1], "manifest.json"])
    publish(store, "second")
    second = json.loads(files.read("tiny/neuron_dataset/manifest.json"))
    assert second["base"] != first["base"]
    assert files.names("tiny/neuron_dataset") == sorted([second["base"][:-1], "manifest.json"])
    assert files.exists(f"tiny/neuron_dataset/{second['base']}checksums.txt")
    assert store.uri("tiny") == "s3://neurons/store/tiny/neuron_dataset"


def test_an_asset_takes_the_resource_as_the_port(tmp_path: Path):
    @dg.asset
    def neuron_dataset(store: dg.ResourceParam[DatasetStore]) -> None:
        publish(store, "from an asset")

    assert dg.materialize([neuron_dataset], resources={"store": Datasets(root=str(tmp_path))}).success
    assert text_of(tmp_path) == "from an asset"
