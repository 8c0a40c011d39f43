"""A server that wants a key gets it, from the check before a run to the last call; nobody else does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.environments import Environment
from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer

KEY = "sk-secret-0123456789"
ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_run_with_the_right_key_ends_well_and_leaves_the_key_nowhere(tmp_path: Path) -> None:
    with ScriptedServer(PlantedScript(), model=MODEL, api_key=KEY) as server:
        write_planted_study(tmp_path, base_url=server.base_url, sequences=100, documents=60)
        variables = {
            "NEUROSCRIBE_STUDIES": str(tmp_path / "studies"),
            "NEUROSCRIBE_STORE": str(tmp_path / "store"),
            "NEUROSCRIBE_HUB": "0",
            "NEUROSCRIBE_LLM_API_KEY": KEY,
            "DAGSTER_HOME": str(tmp_path / "home"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "dagster_project.run", "planted", "--layers", "0"],
            cwd=ROOT,
            env=os.environ | variables,
            capture_output=True,
            timeout=300,
            check=False,
        )
        asked = len(server.calls)

    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert asked > 20
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert (tmp_path / "home") in {parent for path in written for parent in path.parents}
    found = [path for path in written if KEY.encode() in path.read_bytes()]
    assert (found, KEY.encode() in done.stdout + done.stderr) == ([], False)


def test_no_key_is_shown_where_settings_and_resources_are() -> None:
    environment = Environment.read({"NEUROSCRIBE_LLM_API_KEY": KEY, "NEUROSCRIBE_SIMULATOR_LLM_API_KEY": KEY})
    llm = environment.resources()["llm"]
    assert (llm.api_key, llm.simulator_api_key) == (KEY, KEY)
    assert KEY not in repr(environment) + repr(llm)
