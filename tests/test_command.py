"""What all commands share: their study and layers, and how they end."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagster_project.command import chosen, status, study_parser, width
from dagster_project.environments import Environment
from neuroscribe.errors import StudyError
from neuroscribe.testing.planted_study import write_planted_study

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    path = write_planted_study(tmp_path_factory.mktemp("command"), base_url="http://x/v1", documents=1)
    return Environment.read({"NEUROSCRIBE_STUDIES": str(path.parent)})


def test_work_that_is_done_ends_with_0_and_says_nothing(tmp_path: Path, capsys: Any) -> None:
    stores: list[str] = []
    variables = {"NEUROSCRIBE_STORE": str(tmp_path)}
    assert status(lambda environment: stores.append(environment.store), variables) == 0
    assert stores == [str(tmp_path)]
    assert capsys.readouterr().err == ""


def test_an_error_ends_with_1_and_one_message_that_cannot_command_the_terminal(capsys: Any) -> None:
    def work(_: Environment) -> None:
        raise StudyError("first \x1b[31m\nsecond")

    assert status(work, {}) == 1
    assert capsys.readouterr().err == "\nerror: first \\u001b[31m\nsecond\n"


def test_only_what_a_user_can_act_on_becomes_a_message() -> None:
    def work(_: Environment) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        status(work, {})


def test_the_study_and_its_layers_are_those_that_were_typed(environment: Environment) -> None:
    parser = study_parser("x", None, layers="some")
    study, layers = chosen(parser.parse_args(["planted", "--layers", "1,0"]), environment)
    assert (study.name, layers) == ("planted", (0, 1))
    assert chosen(parser.parse_args(["planted"]), environment)[1] is None


def test_other_studies_that_are_broken_get_a_line_each_and_stop_nothing(tmp_path: Path, capsys: Any) -> None:
    path = write_planted_study(tmp_path, base_url="http://x/v1", documents=1)
    (path.parent / "other.toml").write_text("[subject\x1b\n")
    environment = Environment.read({"NEUROSCRIBE_STUDIES": str(path.parent)})
    parser = study_parser("x", None, layers="some")
    capsys.readouterr()
    assert chosen(parser.parse_args(["planted"]), environment)[0].name == "planted"
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: another study is left out: {path.parent}/other.toml: not valid TOML")
    assert warning.count("\n") == 1
    with pytest.raises(StudyError, match=r"other\.toml"):
        chosen(parser.parse_args(["other"]), environment)


def test_a_study_is_required_unless_there_is_a_default(capsys: Any) -> None:
    assert study_parser("x", None, layers="some", default="embedded").parse_args([]).study == "embedded"
    with pytest.raises(SystemExit, match="2"):
        study_parser("x", None, layers="some").parse_args([])
    assert "python -m dagster_project.x: error: the following arguments are required: study" in (
        capsys.readouterr().err
    )


def test_what_is_printed_is_80_to_132_characters_wide() -> None:
    assert 80 <= width() <= 132


A_COMMAND = """
import sys
from dagster_project.command import parser, status
from resources.progress import RichProgress

def work(environment):
    sys.stdout.write("«purple» \\ud800\\n")
    with RichProgress().task("reading «a»", total=1, unit="texts") as advance:
        advance(1, "é")
    from neuroscribe.errors import StudyError
    raise StudyError("no «b»")

parser("x", "Explains ∂ and «c».").print_help()
sys.exit(status(work, {}))
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_what_an_output_cannot_encode_is_printed_escaped(terminal: bool) -> None:
    ours, theirs = pty.openpty() if terminal else os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", A_COMMAND],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
        timeout=120,
        check=False,
    )
    text = os.read(ours, 65536).decode("ascii")
    for end in (ours, theirs):
        os.close(end)
    assert (done.returncode, "Traceback" in text) == (1, False), text
    assert r"\xabpurple\xbb \ud800" in text
    assert r"Explains \u2202 and \xabc\xbb." in text
    assert "error: no " in text
