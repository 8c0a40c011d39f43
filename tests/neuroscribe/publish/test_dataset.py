import io
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neuroscribe.errors import StoreError
from neuroscribe.glossary import COUNTS, WORDS
from neuroscribe.kinds import KnownStudy
from neuroscribe.publish.dataset import Published, neuron_dataset, rebased
from neuroscribe.publish.layouts.parquet import Parquet
from neuroscribe.publish.tables import Place, PublishedTables
from neuroscribe.study.stages import TABLES
from neuroscribe.tables.parquet import parquet_frame, provenance_of
from neuroscribe.tables.records import EXPLANATIONS, SCORES, STATISTICS, VOCABULARY
from neuroscribe.testing.rows import filled
from neuroscribe.testing.stores import MemoryDatasets

HOSTILE = "<script>alert(1)</script>\r\n\u202eright to left\u200f | `code` \x00 \\ 🌧"

STUDY = KnownStudy.model_validate(
    {
        "name": "tiny",
        "description": "Tiny <b>test</b>\n---\n| of | publication",
        "subject": {"model": "tiny/model", "artefact": "tiny-model", "layers": 2, "neurons_per_layer": 3},
        "corpus": {"artefact": "wikipedia-leads-en", "sequences": 8},
        "llm": {"model": "tiny/chat", "base_url": "http://private.example/v1"},
        "simulator_llm": {"model": "tiny/chat", "base_url": "http://hidden.example/v1"},
        "explainers": {"token_list": {}},
        "simulators": {"embedding": {"explainers": ["token_list"]}},
    }
)


def part(table: str, layer: int | None, *rows: dict[str, object]) -> tuple[Place, pl.DataFrame]:
    """One file of a table."""
    return (table, layer), filled(TABLES[table], *rows)


def explained(name: str, *, status: str = "ok", text: str | None = None, **where: int) -> dict[str, object]:
    return {"explanation_id": name, "polarity": 1, "status": status, "text": text, **where}


def scored(name: str, *, split: str = "test", **given: object) -> dict[str, object]:
    return {"explanation_id": name, "polarity": 1, "split": split, **given}


def parts() -> dict[Place, pl.DataFrame]:
    """Two layers: one neuron explained twice and scored, one refused, one explained without a score."""
    parts = [
        part("corpus/vocabulary", None, {"bytes": b"\xff\x00", "text": HOSTILE}),
        part("activations/statistics", 0, *({"neuron": n} for n in range(3))),
        part("activations/statistics", 1, *({"neuron": n} for n in range(3))),
        part(
            "explanations",
            0,
            explained("a", neuron=0, text=HOSTILE),
            explained("b", neuron=0, text="rain"),
            explained("c", neuron=1, status="refused"),
        ),
        part("explanations", 1, explained("d", layer=1, neuron=0, polarity=-1, text="x")),
        part(
            "scores",
            0,
            scored("a", value=0.5, chosen=True),
            scored("b", value=0.4),
            scored("b", split="valid", null_reason="constant truth"),
        ),
        part("scores", 1, scored("d", layer=1, polarity=-1, chosen=True)),
    ]
    return dict(parts)


def publish(
    store: MemoryDatasets, frames: Mapping[Place, pl.DataFrame] | None = None, **given: Any
) -> Published:
    frames = parts() if frames is None else frames
    tables = PublishedTables(STUDY, frames, lambda table, layer: frames[table, layer], provenance={"seed": 7})
    return neuron_dataset(store, tables, [Parquet()], study_fingerprint="f00d", **given)


def published(**given: Any) -> tuple[Published, dict[str, bytes]]:
    store = MemoryDatasets()
    summary = publish(store, **given)
    return summary, store.datasets["tiny"]


def test_layers_are_files_of_their_tables():
    _, files = published()
    assert sorted(files) == [
        "README.md",
        "checksums.txt",
        "data/activations/statistics/layer_00.parquet",
        "data/activations/statistics/layer_01.parquet",
        "data/corpus/vocabulary.parquet",
        "data/explanations/layer_00.parquet",
        "data/explanations/layer_01.parquet",
        "data/scores/layer_00.parquet",
        "data/scores/layer_01.parquet",
        "manifest.json",
    ]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_sha256sum_accepts_the_checksums(tmp_path: Path):
    _, files = published()
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", "checksums.txt"], cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert sorted(line.split(": ")[0] for line in checked.stdout.splitlines()) == sorted(
        set(files) - {"checksums.txt"}
    )


def test_the_schema_of_every_file_is_the_declared_one():
    summary, files = published()
    for file in summary.files:
        if file.table is None:
            continue
        frame = pl.read_parquet(io.BytesIO(files[file.path]))
        assert dict(frame.schema) == TABLES[file.table].schema
        assert frame.height == file.rows
        assert provenance_of(io.BytesIO(files[file.path]))["table"] == file.table


def test_hostile_text_is_published_byte_for_byte():
    _, files = published()
    assert parquet_frame(files["data/explanations/layer_00.parquet"], EXPLANATIONS)["text"][0] == HOSTILE
    assert parquet_frame(files["data/corpus/vocabulary.parquet"], VOCABULARY).row(0) == (
        0,
        b"\xff\x00",
        HOSTILE,
    )


def test_the_manifest_lists_every_file_as_it_is():
    summary, files = published()
    manifest = json.loads(files["manifest.json"])
    assert [file["path"] for file in manifest["files"]] == [
        path for path in files if path not in ("checksums.txt", "manifest.json")
    ]
    assert all(file["bytes"] == len(files[file["path"]]) for file in manifest["files"])
    settings = manifest["study"].pop("settings")
    assert settings["capture"]["top_k"] == STUDY.capture.top_k
    assert settings["simulator_llm"]["model"] == "tiny/chat"
    assert not [
        path for path, data in files.items() if b"private.example" in data or b"hidden.example" in data
    ]
    assert manifest["study"] == {"name": "tiny", "fingerprint": "f00d", "description": STUDY.description}
    assert manifest["tables"]["scores"]["columns"][0] == {
        "name": "explanation_id",
        "dtype": "String",
        "description": SCORES.columns[0].description,
        "nullable": False,
    }
    assert summary.bytes == sum(file["bytes"] for file in manifest["files"])
    assert summary.rows == 1 + 6 + 4 + 4


def test_counts_are_what_the_glossary_says():
    summary, files = published()
    expected = {"neurons": 6, "explanations": 4, "explained": 2, "scored": 1, "scores": 2, "unscored": 2}
    assert summary.counts == expected
    assert set(expected) == set(COUNTS)
    manifest = json.loads(files["manifest.json"])
    assert manifest["counts"] == expected
    assert manifest["nulls"]["explanations"]["text"] == 1
    assert manifest["nulls"]["scores"]["value"] == 2


def test_the_manifest_is_written_last():
    _, files = published()
    assert list(files)[-3:] == ["README.md", "checksums.txt", "manifest.json"]


def test_the_same_tables_give_the_same_bytes():
    assert published()[1] == published()[1]


def test_the_card_declares_every_column_and_word_once():
    _, files = published()
    card = files["README.md"].decode()
    for table in ("explanations", "scores", "corpus/vocabulary"):
        assert card.count(f"## Table {table}\n") == 1
        for column in TABLES[table].columns:
            assert f"| `{column.name}` | `{column.dtype}` |" in card
    for word, sentence in WORDS.items():
        assert card.count(f"- **{word}**: {sentence}") == 1
    assert f"| explained | 2 | {COUNTS['explained']} |" in card


def test_the_cards_front_matter_names_licence_and_files():
    _, files = published()
    front = files["README.md"].decode().split("---\n")[1]
    assert front.splitlines()[0] == "license: cc-by-sa-4.0"
    assert 'pretty_name: "Neurons of tiny/model"' in front
    assert '- config_name: scores\n  data_files: "data/scores/*.parquet"' in front
    assert '- config_name: corpus_vocabulary\n  data_files: "data/corpus/vocabulary.parquet"' in front


def test_licences_are_stated_as_far_as_they_are_known():
    _, files = published(licences={"tiny-model": "Apache-2.0"})
    assert json.loads(files["manifest.json"])["licences"] == [
        {
            "part": "text",
            "name": "wikipedia-leads-en",
            "licence": "CC BY-SA 4.0; lead paragraphs of English Wikipedia by its authors, cut into tokens",
        },
        {"part": "subject", "name": "tiny/model", "licence": "Apache-2.0"},
        {"part": "llm", "name": "tiny/chat", "licence": "not recorded here; see its publisher"},
        {"part": "simulator_llm", "name": "tiny/chat", "licence": "not recorded here; see its publisher"},
        {
            "part": "encoder",
            "name": "sentence-transformers/all-MiniLM-L6-v2",
            "licence": "not recorded here; see its publisher",
        },
    ]


def test_a_description_with_markup_stays_one_line_of_text():
    _, files = published()
    assert "\nTiny &lt;b>test&lt;/b> --- | of | publication\n" in files["README.md"].decode()


def test_nothing_to_publish_is_said_and_leaves_the_previous_dataset():
    store = MemoryDatasets()
    publish(store)
    before = store.datasets["tiny"]
    with pytest.raises(StoreError, match="study tiny has no tables to publish"):
        publish(store, {})
    assert store.datasets["tiny"] is before


def test_a_frame_that_does_not_fit_is_not_published():
    store = MemoryDatasets()
    with pytest.raises(StoreError, match="activations/statistics has columns"):
        publish(store, {("activations/statistics", 0): pl.DataFrame({"neuron": [1]})})
    assert store.datasets == {}


def test_a_rebased_manifest_differs_in_its_base_alone():
    _, files = published()
    moved = json.loads(rebased(files["manifest.json"], "v1/"))
    assert moved == {**json.loads(files["manifest.json"]), "base": "v1/"}
    assert STATISTICS.name in moved["tables"]
