"""The command `make plan`: what it prints without any server or capture, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest

from dagster_project.plan import main
from neuroscribe.testing.planted import LAYERS
from neuroscribe.testing.planted_study import write_planted_study

pytestmark = pytest.mark.slow


def test_the_command_plans_a_study_without_any_server_or_capture(tmp_path: Path, capsys: Any) -> None:
    path = write_planted_study(tmp_path, base_url="http://127.0.0.1:1/v1")
    variables = {"NEUROSCRIBE_STORE": str(tmp_path / "store"), "NEUROSCRIBE_STUDIES": str(path.parent)}
    assert main(["planted"], variables) == 0
    printed = capsys.readouterr().out
    assert printed.count("token_pairs") == LAYERS
    assert main(["planted", "--layers", "7"], variables) == 1
    assert "has layers 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "named"),
    [('units = "heads"', "subject.units"), ('[publish]\nlayouts = ["parquet", "html"]', "html")],
)
def test_a_plan_refuses_kinds_that_a_run_would_refuse(
    tmp_path: Path, capsys: Any, section: str, named: str
) -> None:
    path = write_planted_study(tmp_path, base_url="http://127.0.0.1:1/v1")
    before, _, after = path.read_text().partition("[corpus]")
    path.write_text(f"{before}{section}\n[corpus]{after}")
    variables = {"NEUROSCRIBE_STORE": str(tmp_path / "store"), "NEUROSCRIBE_STUDIES": str(path.parent)}
    assert main(["planted"], variables) == 1
    assert named in capsys.readouterr().err
