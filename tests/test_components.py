"""Studies as `dg` finds, scaffolds and checks them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copyfile

import dagster as dg
import pytest
from dagster_dg_cli.cli import create_dg_cli

from assets.stage import key
from dagster_project.broken import ASSET
from dagster_project.build import shared_defs
from dagster_project.environments import ROOT, Environment
from dagster_project.study_file import StudyFile
from dagster_project.study_scaffold import StudyParams, study_text
from neuroscribe.errors import StudyError
from neuroscribe.kinds import read_studies, read_study
from neuroscribe.study.stages import stages_of
from neuroscribe.testing.planted_study import write_planted_study

COMPONENT = "dagster_project.study_file.StudyFile"
CHECKED = "DAGSTER_IS_DEFS_VALIDATION_CLI"

# dg's typer is pinned, and imports what the newest click calls by another name.
pytestmark = pytest.mark.filterwarnings("ignore:'click.:DeprecationWarning")


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty studies folder, for components and `dg` in this process."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NEUROSCRIBE_STUDIES", str(tmp_path / "studies"))
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "")  # dg sets it, and it is taken back afterwards
    monkeypatch.setenv("DAGSTER_HOME", str(_home(tmp_path)))
    return tmp_path / "studies"


def _home(folder: Path) -> Path:
    """Return a new home of Dagster with our settings: without, `dg` tells its makers that it is used."""
    (folder / "home").mkdir()
    copyfile(ROOT / "deploy" / "dagster.yaml", folder / "home" / "dagster.yaml")
    return folder / "home"


def _said(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """Return what a `dg` command in this process ends with, and all that it prints."""
    with pytest.raises(SystemExit) as ended:
        create_dg_cli().main(list(arguments), "dg")
    printed = capfd.readouterr()
    return ended.value.code, f"{printed.out}{printed.err}{ended.value.code}"


def _keys(component: StudyFile) -> list[list[str]]:
    """Return the keys of the assets of a component."""
    found = dg.build_defs_for_component(component)
    defs = dg.Definitions.merge(found, shared_defs(Environment.read()))
    return [[*spec.key.path] for spec in defs.resolve_all_asset_specs()]


def test_all_that_dg_loads_is_sound_in_this_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `dg check defs` does, in the gate: there it would take nine seconds for imports alone."""
    monkeypatch.delenv("NEUROSCRIBE_STUDIES", raising=False)
    monkeypatch.setenv(CHECKED, "1")

    found = dg.load_from_defs_folder(path_within_project=ROOT)
    defs = dg.Definitions.merge(found, shared_defs(Environment.read()))

    dg.Definitions.validate_loadable(defs)
    there = read_studies(ROOT / "studies")
    assert {spec.key for spec in defs.resolve_all_asset_specs()} == {
        key(study, stage) for study in there.values() for stage in stages_of(study)
    }


def test_dg_lists_the_component_with_its_documentation(
    studies: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said = _said(capfd, "list", "components", "--package", "dagster_project", "--json")
    assert code == 0
    (listed,) = json.loads(said[: said.rindex("}") + 1])["items"]
    assert listed["key"] == COMPONENT
    assert "A TOML file of the studies folder" in listed["summary"]


def test_a_scaffolded_study_is_sound_and_its_file_is_all_there_is(
    studies: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted((ROOT / "dagster_project" / "defs").rglob("*"))

    code, said = _said(capfd, "scaffold", "defs", COMPONENT, "mine")

    assert (code, [path.name for path in studies.iterdir()]) == (0, ["mine.toml"])
    assert "make run STUDY=mine" in said
    assert sorted((ROOT / "dagster_project" / "defs").rglob("*")) == before
    assert read_study(studies / "mine.toml").subject.layers == 32
    assert ["mine", "scores"] in _keys(StudyFile())


def test_a_scaffolded_study_of_another_model_names_what_has_to_be_set(
    studies: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _said(capfd, "scaffold", "defs", COMPONENT, "mine", "--model", "gpt2")[0] == 0
    assert _keys(StudyFile()) == [["mine", ASSET]]

    monkeypatch.setenv(CHECKED, "1")
    with pytest.raises(StudyError) as error:
        dg.build_defs_for_component(StudyFile())

    lines = str(error.value).splitlines()
    assert [line.partition("mine.toml: ")[2].partition(";")[0] for line in lines] == [
        "key `subject.layers` is missing",
        "key `subject.neurons_per_layer` is missing",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine", "mine.toml: is there already; edit it, or take another name"),
        ("mine.toml", "mine.toml: is there already; edit it, or take another name"),
        ("my-own", "'my-own' will not do as a study's name; use lower-case letters"),
        ("folder/mine", "'folder/mine' will not do as a study's name"),
        ("../mine", "'../mine' will not do as a study's name"),
    ],
)
def test_a_name_that_exists_or_will_not_do_is_refused(
    studies: Path, capfd: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    studies.mkdir()
    (studies / "mine.toml").write_text("kept", encoding="utf-8")
    before = sorted((ROOT / "dagster_project").iterdir())

    code, said = _said(capfd, "scaffold", "defs", COMPONENT, name)

    assert code != 0
    assert message in said
    assert [path.read_text() for path in studies.iterdir()] == ["kept"]
    assert sorted((ROOT / "dagster_project").iterdir()) == before


def test_what_is_said_of_a_new_study_stands_in_its_file_however_it_is_spelt(tmp_path: Path) -> None:
    params = StudyParams(
        model='a"b\\$c\n😀\x7f', layers=2, neurons_per_layer=7, prefix_token="<s>", files="~/texts/*.txt"
    )
    (tmp_path / "mine.toml").write_text(study_text(params), encoding="utf-8")

    study = read_study(tmp_path / "mine.toml")

    assert study.subject.model == params.model
    assert (study.subject.layers, study.subject.neurons_per_layer) == (2, 7)
    assert (study.subject.prefix_token, study.corpus.files) == ("<s>", "~/texts/*.txt")


def test_a_component_loads_the_files_that_it_names_and_no_others(studies: Path) -> None:
    studies.mkdir()
    for name in ("one", "other"):
        (studies / f"{name}.toml").write_text(study_text(StudyParams()), encoding="utf-8")

    assert {study for study, _ in _keys(StudyFile(file="on*.toml"))} == {"one"}
    with pytest.raises(StudyError, match=r"studies: holds no study 'c\.toml'; add a \.toml file"):
        dg.build_defs_for_component(StudyFile(file="c.toml"))
    with pytest.raises(ValueError, match="pattern"):
        StudyFile(file="../other/mine.toml")


def _dg(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `dg` in the project's root, on the studies of a folder."""
    variables = {
        "NEUROSCRIBE_STUDIES": str(folder / "studies"),
        "NEUROSCRIBE_STORE": str(folder / "store"),
        "NEUROSCRIBE_HUB": "0",
        "DAGSTER_HOME": str(_home(folder)),
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("dg")), *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_dg_check_defs_fails_and_names_a_broken_study(tmp_path: Path) -> None:
    write_planted_study(tmp_path, base_url="http://127.0.0.1:1/v1")
    (tmp_path / "studies" / "other.toml").write_text("[", encoding="utf-8")
    done = _dg(tmp_path, "check", "defs")
    assert done.returncode == 1
    assert "other.toml: not valid TOML" in done.stdout + done.stderr


@pytest.mark.slow
def test_dg_launch_materialises_an_asset_of_a_study(tmp_path: Path) -> None:
    write_planted_study(tmp_path, base_url="http://127.0.0.1:1/v1")
    done = _dg(tmp_path, "launch", "--assets", "planted/corpus")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "store" / "planted" / "corpus").rglob("*.parquet"))
    assert "no guard" not in done.stderr
