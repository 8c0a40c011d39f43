"""What a store's files are by their paths, and which of them nothing needs: listings alone decide."""

import pytest

from neuroscribe.testing.studies import tiny_study
from resources.store.files import Entry
from resources.store.layout import DAY_S, Current, Placed, garbage, of_layers, placed

STUDY = tiny_study(
    name="tiny",
    explainers={"token_list": {}},
    simulators={"embedding": {"explainers": ["token_list"]}},
)
OLD, NEW = 2 * DAY_S, 60.0
VERSION, BEFORE = "a" * 32, "b" * 32


def _reasons(*files: tuple[str, float], **known: object) -> dict[str, str]:
    entries = [Entry(path, 1, age_s) for path, age_s in files]
    current = {"tiny": Current(dataset=VERSION, captures={"current"})}
    found = garbage(entries, {"tiny": STUDY}, current=current, **known)  # pyright: ignore[reportArgumentType]
    return {each.entry.path: each.why for each in found}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("tiny/corpus/sequences.parquet", Placed("table", "tiny", "corpus")),
        ("tiny/activations/statistics/layer_00.parquet", Placed("table", "tiny", "activations", 0)),
        ("tiny/scores/layer_11.parquet", Placed("table", "tiny", "scores", 11)),
        ("tiny/activations/tensors/layer_02.safetensors", Placed("state", "tiny", "activations", 2)),
        ("tiny/activations/tensors/layer_02.open.safetensors", Placed("shard", "tiny", "activations", 2)),
        (
            "tiny/activations/tensors/layer_02.shard_0_of_3.open.safetensors",
            Placed("shard", "tiny", "activations", 2),
        ),
        (
            "tiny/activations/whole/abc/layer_02/block_000001.safetensors",
            Placed("whole", "tiny", "activations", 2, "abc"),
        ),
        (
            f"tiny/neuron_dataset/{VERSION}/README.md",
            Placed("dataset", "tiny", "neuron_dataset", version=VERSION),
        ),
        ("tiny/scores/.layer_11.parquet.0123.part", Placed("temporary", "tiny")),
        (".tiny.lock.0123.probe", Placed("temporary", "")),
        ("tiny/scores.parquet", None),
        ("tiny/mine.parquet", None),
        ("tiny/notes/layer_00.parquet", None),
        ("ledger.parquet", None),
        (".tiny.lock", None),
        ("calls/ab/abcd.json", None),
    ],
)
def test_a_path_says_what_a_file_is(path: str, place: Placed | None) -> None:
    assert placed(path) == place


def test_what_a_study_has_is_no_garbage() -> None:
    assert not _reasons(
        ("tiny/corpus/sequences.parquet", OLD),
        ("tiny/scores/layer_11.parquet", OLD),
        ("tiny/activations/tensors/layer_00.safetensors", OLD),
        ("tiny/activations/tensors/layer_01.open.safetensors", OLD),
        ("tiny/activations/whole/current/layer_00/block_000000.safetensors", OLD),
        (f"tiny/neuron_dataset/{VERSION}/README.md", OLD),
        ("tiny/.neuron_dataset/README.md", OLD),
        ("calls/ab/abcd.json", OLD),
        ("notes/mine.parquet", OLD),
    )


def test_what_killed_writers_left_is_garbage_after_a_day() -> None:
    paths = ("tiny/.a.parquet.0123.part", ".tiny.lock.0123.probe", "write_check", "gone/.b.0123.part")
    assert set(_reasons(*((path, OLD) for path in paths))) == set(paths)
    assert not _reasons(*((path, NEW) for path in paths))


def test_tables_and_tensors_of_studies_without_a_file_are_garbage_and_of_broken_ones_not() -> None:
    files = (
        ("gone/scores/layer_00.parquet", NEW),
        ("gone/activations/tensors/layer_00.safetensors", NEW),
        ("gone/mine.parquet", NEW),
    )
    assert _reasons(*files) == dict.fromkeys([files[1][0], files[0][0]], "no study's file is named gone")
    assert not _reasons(*files, broken=["gone"])


def test_tables_of_a_stage_that_the_study_has_no_longer_are_garbage() -> None:
    files = (("tiny/judgements/layer_00.parquet", NEW), ("tiny/simulations/layer_00.parquet", NEW))
    assert _reasons(*files) == {"tiny/judgements/layer_00.parquet": "study tiny has no judgements any longer"}


def test_shards_are_garbage_once_their_layer_has_been_captured_whole() -> None:
    shard, whole = "tiny/activations/tensors/layer_00.shard_1_of_2.safetensors", "tiny/activations/tensors/{}"
    finished = whole.format("layer_00.safetensors")
    assert list(_reasons((shard, OLD), (finished, NEW))) == [shard]
    assert not _reasons((shard, NEW), (finished, OLD))
    assert not _reasons((shard, OLD), (whole.format("layer_01.safetensors"), NEW))


def test_older_captures_and_datasets_are_garbage() -> None:
    older = "tiny/activations/whole/older/layer_00/block_000000.safetensors"
    dataset = f"tiny/.neuron_dataset/{BEFORE}/README.md"
    assert set(_reasons((older, NEW), (dataset, OLD))) == {older, dataset}
    assert set(_reasons((older, NEW), (dataset, NEW))) == {older}  # somebody may be publishing it


def test_a_layers_files_are_its_tables_and_only_on_request_its_tensors() -> None:
    paths = (
        "tiny/scores/layer_00.parquet",
        "tiny/simulations/layer_00.parquet",
        "tiny/scores/layer_01.parquet",
        "tiny/activations/tensors/layer_00.safetensors",
        "tiny/activations/whole/current/layer_00/block_000000.safetensors",
        "tiny/corpus/sequences.parquet",
        "other/scores/layer_00.parquet",
    )
    entries = [Entry(path, 1, NEW) for path in paths]

    def chosen(stages: list[str], *, capture: bool) -> list[str]:
        return [entry.path for entry in of_layers(entries, "tiny", [0], stages, capture=capture)]

    assert chosen(["scores", "simulations"], capture=False) == list(paths[:2])
    assert chosen(["scores"], capture=True) == [paths[0], *paths[3:5]]
