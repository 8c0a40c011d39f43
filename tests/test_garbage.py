"""`garbage` and `forget` print first, remove on request, and never while the study is being run."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dagster_project import forget, garbage
from dagster_project.alone import alone
from dagster_project.environments import ROOT, Environment
from neuroscribe.ports.replies import Usage
from resources.store.calls import FolderCalls
from resources.store.files import Files

_STUDY = """
description = "tiny"
[subject]
model = "model"
layers = 2
neurons_per_layer = 4
[corpus]
files = "*.txt"
sequences = 100
[llm]
provider = "openai"
model = "m"
base_url = "http://127.0.0.1:9/v1"
[explainers.token_list]
[simulators.embedding]
artefact = "all-minilm-l6-v2"
explainers = ["token_list"]
"""
_TABLES = (
    "tiny/scores/layer_00.parquet",
    "tiny/scores/layer_01.parquet",
    "tiny/simulations/layer_00.parquet",
)


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "tiny.toml").write_text(_STUDY)
    (tmp_path / "home").mkdir()
    files = Files(tmp_path / "store")
    for path in (*_TABLES, "gone/scores/layer_00.parquet", "tiny/.old.part", "tiny/.new.part", ".loose.part"):
        files.write(path, b"123")
    for path in ("tiny/.old.part", ".loose.part"):
        os.utime(tmp_path / "store" / path, (time.time() - 200_000,) * 2)
    answer = {"text": "x", "status": "ok", "usage": vars(Usage()), "about": {"study": "gone"}}
    FolderCalls(tmp_path / "store" / "calls").put("ab12", answer)
    return {
        "NEUROSCRIBE_STORE": str(tmp_path / "store"),
        "NEUROSCRIBE_STUDIES": str(tmp_path / "studies"),
        "DAGSTER_HOME": str(tmp_path / "home"),
    }


def _paths(variables: dict[str, str]) -> set[str]:
    paths = {entry.path for entry in Files(variables["NEUROSCRIBE_STORE"]).entries()}
    return {path for path in paths if not path.endswith(".lock") and not path.startswith("calls/")}


def test_garbage_is_printed_and_only_on_request_removed(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = _paths(variables)
    assert garbage.main([], variables) == 0
    printed = capsys.readouterr().out
    assert _paths(variables) == before
    for line in (
        "0.000 MB  gone/scores/layer_00.parquet: no study's file is named gone",
        "0.000 MB  tiny/.old.part: a writer that was killed has left it",
        "0.000 MB  .loose.part: a writer that was killed has left it",
        "nothing has been: add --remove",
        "1 stored answers of language models, 1 of them first asked for by studies that are gone",
    ):
        assert line in printed
    assert garbage.main(["--remove"], variables) == 0
    assert _paths(variables) == {*_TABLES, "tiny/.new.part"}
    assert list(FolderCalls(f"{variables['NEUROSCRIBE_STORE']}/calls").keys()) == ["ab12"]


def test_nothing_of_a_study_that_is_being_run_is_removed(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with alone("tiny", Environment.read(variables)), ThreadPoolExecutor(1) as pool:
        assert pool.submit(garbage.main, ["--remove"], variables).result() == 0
        assert pool.submit(forget.main, ["tiny", "--layers", "0", "--yes"], variables).result() == 1
    assert _paths(variables) == {*_TABLES, "tiny/.old.part", "tiny/.new.part"}
    said = capsys.readouterr()
    assert "left alone: study tiny is being run from" in said.out
    assert "study tiny is being run from" in said.err


def test_nothing_of_a_study_that_a_run_of_the_page_writes_is_removed(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a run holds the locks of its steps, and not the study's."""
    store = variables["NEUROSCRIBE_STORE"]
    code = "import sys; from resources.store.study_locks import writing\n"
    code += "with writing(sys.argv[1], ['tiny', 'scores'], ['layer_01']): print(flush=True); input()"
    command = [sys.executable, "-c", code, store]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as step:
        assert step.stdout is not None
        step.stdout.readline()
        assert garbage.main(["--remove"], variables) == 0
        assert forget.main(["tiny", "--layers", "0", "--yes"], variables) == 1
        step.communicate(b"\n")
    assert _paths(variables) == {*_TABLES, "tiny/.old.part", "tiny/.new.part"}
    said = capsys.readouterr()
    assert "left alone: study tiny.scores.layer_01 is being run from" in said.out
    assert "study tiny.scores.layer_01 is being run from" in said.err
    assert forget.main(["tiny", "--layers", "0", "--yes"], variables) == 0


def test_layers_are_forgotten_on_request_and_only_those_named(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = _paths(variables)
    assert forget.main(["tiny", "--layers", "0"], variables) == 0
    assert "in 2 files to remove (nothing has been: add --yes" in capsys.readouterr().out
    assert _paths(variables) == before
    assert forget.main(["tiny", "--layers", "0", "--stages", "scores", "--yes"], variables) == 0
    assert before - _paths(variables) == {"tiny/scores/layer_00.parquet"}
    assert forget.main(["tiny", "--layers", "0", "--stages", "corpus"], variables) == 1
    assert "--stages names 'corpus'; of single layers study tiny has" in capsys.readouterr().err
    assert forget.main(["tiny"], variables) == 1
    assert "no layer is named" in capsys.readouterr().err
