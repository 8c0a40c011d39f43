"""Labels of others, in every form, and what is refused of them before anything is spent."""

import csv
import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import resources.labels
from neuroscribe.errors import LabelError
from neuroscribe.study.labels import LabelsSpec
from neuroscribe.testing.studies import tiny_study
from resources.labels import LabelFiles

STUDY = tiny_study(subject={"layers": 2})
ROWS = [{"layer": 1, "neuron": 7, "text": "rain"}, {"layer": 0, "neuron": 2, "polarity": -1, "text": "fog"}]
RAIN_AND_FOG = {(1, 7, 1): ["rain"], (0, 2, -1): ["fog"]}
OPENAI = {
    "dataclass_name": "NeuronSimulationResults",
    "neuron_id": {"layer_index": 1, "neuron_index": 7},
    "scored_explanations": [
        {"explanation": " rain ", "scored_simulation": {"ev_correlation_score": float("nan")}}
    ],
}
TRANSLUCE = {
    "neuron_id": {"layer_index": 1, "neuron_index": 7},
    "explanations": {"positive": [{"explanation": "rain"}], "negative": [{"explanation": "fog"}]},
}
NEURONPEDIA = {
    "id": "c1",
    "modelId": "m",
    "layer": "1",
    "index": "7",
    "description": "rain",
    "embedding": [0.0],
}


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path | str, **given: Any) -> Mapping[tuple[int, int, int], list[str]]:
    labels = LabelFiles().open(LabelsSpec(file=str(path), **given), STUDY)
    return {key: [label.text for label in own] for key, own in labels.by_neuron.items()}


def lines(*objects: object) -> str:
    return "\n".join(json.dumps(each) for each in objects)


def test_plain_rows_are_read_from_csv_with_quotes_and_line_breaks(tmp_path: Path) -> None:
    text = 'layer,index,polarity,description,score\r\n1,7,,"rain,\r\nand ""fog""",.3\r\n0,2,-1,fog,.1\r\n'
    path = written(tmp_path, "a.csv", "\ufeff" + text)
    assert read(path) == {(1, 7, 1): ['rain, and "fog"'], (0, 2, -1): ["fog"]}
    labels = LabelFiles().open(LabelsSpec(file=str(path)), STUDY)
    assert labels.by_neuron[0, 2, -1][0].place == "a.csv, line 4"
    assert labels.name == "a.csv"


def test_plain_rows_are_read_from_parquet_and_a_null_is_no_label(tmp_path: Path) -> None:
    rows = [{"layer": 1, "neuron": 7, "polarity": 1, "text": "rain", "sequence_ids": [4, 2], "other": 1}]
    rows += [{"layer": 1, "neuron": 6, "polarity": 1, "text": None, "sequence_ids": [], "other": 1}]
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == {(1, 7, 1): ["rain"]}
    labels = LabelFiles().open(LabelsSpec(file=str(tmp_path / "a.parquet")), STUDY)
    assert labels.by_neuron[1, 7, 1][0].sequence_ids == (4, 2)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.jsonl", lines(*ROWS), RAIN_AND_FOG),
        ("a.json", json.dumps(ROWS), RAIN_AND_FOG),
        ("7.jsonl", lines(OPENAI), {(1, 7, 1): ["rain"]}),
        ("7.json", json.dumps(TRANSLUCE), {(1, 7, 1): ["rain"], (1, 7, -1): ["fog"]}),
        ("batch-0.jsonl", lines(NEURONPEDIA), {(1, 7, 1): ["rain"]}),
    ],
    ids=["lines", "list", "openai", "transluce", "neuronpedia"],
)
def test_each_form_is_told_by_its_keys_plain_and_in_gzip(
    name: str, content: str, found: object, tmp_path: Path
) -> None:
    assert read(written(tmp_path, name, content)) == found
    assert read(written(tmp_path, f"{name}.gz", gzip.compress(content.encode()))) == found


def test_a_glob_names_a_file_for_each_neuron(tmp_path: Path) -> None:
    for neuron in (3, 5):
        one = {**OPENAI, "neuron_id": {"layer_index": 1, "neuron_index": neuron}}
        written(tmp_path, f"1/{neuron}.jsonl", lines(one))
    assert read(f"{tmp_path}/*/*.jsonl", format="openai") == {(1, 3, 1): ["rain"], (1, 5, 1): ["rain"]}


def test_of_neuronpedia_the_named_source_set_is_taken(tmp_path: Path) -> None:
    other = {**NEURONPEDIA, "layer": "0-mlp-neurons", "description": "fog"}
    path = written(tmp_path, "a.jsonl", lines(NEURONPEDIA, other))
    assert read(path, source="mlp-neurons") == {(0, 7, 1): ["fog"]}
    with pytest.raises(LabelError, match=r"a\.jsonl, line 2: of the source set 'mlp-neurons'.*set source = "):
        read(path)


def test_several_labels_of_a_neuron_are_candidates_and_the_same_text_is_one(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "layer,neuron,text\n1,7,rain\n1,7,fog\n1,7,rain\n")
    assert read(path, candidates=2) == {(1, 7, 1): ["rain", "fog"]}
    with pytest.raises(LabelError, match=r"\(a\.csv, line 2; a\.csv, line 3\); set candidates = 2 or more"):
        read(path)


def test_a_hash_holds_the_files_to_what_they_were(tmp_path: Path) -> None:
    files = [written(tmp_path, f"{n}.csv", f"layer,neuron,text\n1,{n},rain\n") for n in (1, 2)]
    found = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    assert len(read(tmp_path / "*.csv", sha256=found)) == 2
    with pytest.raises(LabelError, match=f"is {found}, and the study names 0000.*restore"):
        read(tmp_path / "*.csv", sha256="0" * 64)


def test_a_long_field_and_a_file_that_is_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * (csv.field_size_limit() + 1)
    path = written(tmp_path, "a.csv", f"layer,neuron,text\n1,7,{long}\n")
    with pytest.raises(LabelError, match=r"a\.csv, line 2: no readable CSV \(field larger"):
        read(path)
    packed = written(tmp_path, "b.jsonl.gz", gzip.compress(b" " * 100_000 + b"\n"))
    monkeypatch.setattr(resources.labels, "MOST_BYTES", 50_000)
    for large in (path, packed):
        with pytest.raises(LabelError, match=f"{large.name}: with it the files .* are more than"):
            read(large)


PLAIN = "layer,neuron,text\n"


WRONG: list[tuple[str, str | bytes, str]] = [
    ("a.csv", "", r"holds no label"),
    ("a.csv", PLAIN, r"holds no label"),
    ("a.csv", "neuron,text\n7,rain\n", r"a\.csv, line 2: no columns layer.*found neuron, text; rename"),
    ("a.csv", PLAIN + "1,7\n", r"a\.csv, line 2: not as many fields as the 3 columns"),
    ("a.csv", PLAIN + "1,7,rain,fog\n", r"a\.csv, line 2: not as many fields as the 3 columns"),
    ("a.csv", PLAIN + '1,7,"rain\n', r"a\.csv, line 2: no readable CSV"),
    ("a.csv", PLAIN + "1,7, \n", r"a\.csv, line 2: text is empty, which is no label; correct or remove"),
    ("a.csv", PLAIN + "1,7,ra\0in\n", r"a\.csv, line 2: text holds a NUL"),
    ("a.csv", PLAIN + "2,7,rain\n", r"a\.csv, line 2: layer 2, and the subject m has 0 to 1"),
    ("a.csv", PLAIN + "1,8,rain\n", r"a\.csv, line 2: neuron 8, and the subject m has 0 to 7"),
    ("a.csv", PLAIN + "1,-7,rain\n", r"a\.csv, line 2: neuron is '-7', and no whole number"),
    ("a.csv", PLAIN + "1.0,7,rain\n", r"a\.csv, line 2: layer is '1\.0', and no whole number"),
    ("a.csv", "layer,neuron,polarity,text\n1,7,2,rain\n", r"line 2: polarity is '2'; it is 1 or -1"),
    ("a.csv", PLAIN.encode() + b"1,7,\xff\n", r"a\.csv, line 2: byte 22 is no UTF-8"),
    ("a.parquet", b"PAR1 and no more", r"a\.parquet: no readable Parquet file"),
    ("a.json.gz", b"no gzip", r"a\.json\.gz: no readable gzip file"),
    ("a.json.gz", gzip.compress(b"[" * 10_000, mtime=0)[:30], r"a\.json\.gz: no readable gzip file"),
    ("a.jsonl", '{"layer": 1', r"a\.jsonl, line 1: no valid JSON"),
    ("a.jsonl", "\n[1]", r"a\.jsonl, line 2: a list where an object belongs"),
    ("a.jsonl", "[" * 100_000, r"a\.jsonl, line 1: (nested too deeply|no valid JSON)"),
    ("a.jsonl", lines({**ROWS[0], "text": 5}), r"a\.jsonl, line 1: text is 5, and no text"),
    ("a.jsonl", lines({**ROWS[0], "text": "\ud800"}), r"line 1: text holds half of a surrogate pair"),
    ("a.jsonl", lines({**ROWS[0], "layer": True}), r"line 1: layer is True, and no whole number"),
    ("a.jsonl", lines({**ROWS[0], "polarity": True}), r"line 1: polarity is True"),
    ("a.jsonl", lines({**ROWS[0], "sequence_ids": [100]}), r"line 1: sequence_ids names 100, .* 0 to 99"),
    ("a.jsonl", lines({**ROWS[0], "sequence_ids": 1}), r"line 1: sequence_ids is 1, and no list"),
    ("a.jsonl", lines({**OPENAI, "neuron_id": 7}), r"line 1: 7 where an object belongs"),
    ("a.jsonl", lines({**OPENAI, "scored_explanations": None}), r"scored_explanations is None"),
    ("a.jsonl", lines({**TRANSLUCE, "explanations": {"up": []}}), r"line 1: explanations of 'up'"),
    ("a.jsonl", lines({**NEURONPEDIA, "layer": "x"}), r"line 1: no line of Neuronpedia's explanations"),
    ("a.txt", "rain", r"a\.txt: labels of the format 'auto' are read from \.csv, \.parquet"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), WRONG, ids=map(str, range(len(WRONG))))
def test_what_is_no_label_is_answered_with_place_finding_and_remedy(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match=message):
        read(written(tmp_path, name, content))


def test_files_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    for name in ("none.csv", "*.csv", "."):
        with pytest.raises(LabelError, match="names no file; give a file, or a glob"):
            read(tmp_path / name)


def test_a_format_is_read_from_files_of_its_kind(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", PLAIN + "1,7,rain\n")
    with pytest.raises(LabelError, match=r"'openai' are read from \.json, \.jsonl"):
        read(path, format="openai")
    assert read(path, format="csv") == {(1, 7, 1): ["rain"]}
    with pytest.raises(LabelError, match=r"'csv' are read from \.csv"):
        read(written(tmp_path, "a.jsonl", lines(ROWS[0])), format="csv")
