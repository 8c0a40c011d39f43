"""Compiled code is kept where there is a place, and done without where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import numba
from neuroscribe.capture.compiled_code import kept

@kept
@numba.njit
def next_number(number):
    return number + 1

print(next_number(3), sum(next_number.stats.cache_hits.values()))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "script.py"
    path.parent.mkdir()
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def printed(script: Path, cache: Path, **variables: str) -> str:
    variables = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, str(script)], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_code_is_kept_where_numba_is_told_to_and_not_beside_the_source(script: Path, tmp_path: Path) -> None:
    assert printed(script, tmp_path / "cache") == "4 0"
    assert printed(script, tmp_path / "cache") == "4 1"
    assert [path.name for path in script.parent.iterdir()] == ["script.py"]


def test_damaged_code_is_compiled_anew_and_kept_again(script: Path, tmp_path: Path) -> None:
    printed(script, tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:20])
    assert printed(script, tmp_path / "cache") == "4 0"
    assert printed(script, tmp_path / "cache") == "4 1"


def test_a_cache_that_cannot_be_written_stops_nothing(script: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    # Numba's next choices are beside the source and in the home.
    (script.parent / "__pycache__").write_bytes(b"")
    assert printed(script, tmp_path / "file" / "cache", HOME=str(tmp_path / "file")) == "4 0"
