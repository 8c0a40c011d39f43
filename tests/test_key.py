"""A server that wants a key gets it, from the check before a run to the last call; nobody else does."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.stage import plain_failures
from dagster_project.environments import Environment
from dagster_project.sealed import sealed
from neuroscribe.errors import CorpusError, LLMError, StoreError, StudyError
from neuroscribe.secrets.known import know
from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from resources.store.files import Files
from resources.texts import TextFiles

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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEUROSCRIBE_STORE", "s3://AKIA:HUSH/HUSH@bucket/prefix"),
        ("NEUROSCRIBE_S3_ENDPOINT", "http://minio:HUSH@127.0.0.1:9000"),
        ("NEUROSCRIBE_LLM_BASE_URL", "https://llm.example/v1?api_key=HUSH"),
        ("NEUROSCRIBE_SIMULATOR_LLM_BASE_URL", "https://me:HUSH@llm.example/v1"),
    ],
)
def test_a_secret_in_an_address_of_the_environment_is_refused_before_dagster_shows_it(
    name: str, value: str
) -> None:
    with pytest.raises(StudyError, match=rf"{name} = .*\[hidden\].* take it out") as refused:
        Environment.read({name: value})
    assert "HUSH" not in str(refused.value)


def test_the_address_of_the_limits_database_may_hold_a_password_and_is_shown_nowhere() -> None:
    address = "postgresql+psycopg2://me:HUSH-0123@db.example/limits"
    environment = Environment.read({"NEUROSCRIBE_LIMITS_DATABASE": address})
    llm = environment.resources()["llm"]
    assert llm.limits_database == address
    shown = sealed({"llm": llm})["llm"].description or ""
    assert "budget_hours" in shown
    assert "HUSH" not in repr(environment) + repr(llm) + shown + str(LLMError(f"at {address}: HUSH-0123"))
    with pytest.raises(StudyError, match="is no address; write it as") as refused:
        Environment.read({"NEUROSCRIBE_LIMITS_DATABASE": "me:HUSH-0123@db.example/limits"})
    assert "HUSH" not in str(refused.value)
    # Any other variable is refused as before, also one that looks like it.
    with pytest.raises(StudyError, match="take it out"):
        Environment.read({"NEUROSCRIBE_LIMITS_DATABASES": address})


def test_limits_are_kept_beside_dagsters_history_unless_another_place_is_named(tmp_path: Path) -> None:
    home = {"DAGSTER_HOME": str(tmp_path)}
    assert Environment.read(home).resources()["llm"].limits_database == str(tmp_path / "limits.db")
    named = Environment.read({**home, "NEUROSCRIBE_LIMITS_DATABASE": "shared/limits.db"})
    assert named.resources()["llm"].limits_database == str(ROOT / "shared" / "limits.db")


def test_stores_and_texts_are_not_opened_at_addresses_with_a_secret() -> None:
    for opened, setting, kind in (
        (lambda: Files("s3://AKIA:HUSH@bucket"), "NEUROSCRIBE_STORE", StoreError),
        (
            lambda: Files("s3://bucket", endpoint_url="http://me:HUSH@minio"),
            "NEUROSCRIBE_S3_ENDPOINT",
            StoreError,
        ),
        (
            lambda: TextFiles("s3://AKIA:HUSH@bucket/*.txt", text_column="text").paths,
            "corpus.files",
            CorpusError,
        ),
    ):
        with pytest.raises(kind, match=f"{setting} = .*take it out") as refused:
            opened()
        assert "HUSH" not in str(refused.value)


def test_what_dagster_keeps_of_a_failure_tells_no_secret() -> None:
    know(KEY)

    @dg.op
    def failing() -> None:
        with plain_failures():
            try:
                raise OSError(f"cannot reach http://me:{KEY}@host")
            except OSError as error:
                raise StoreError(f"the store says {KEY}") from error

    @dg.job
    def job() -> None:
        failing()

    with dg.DagsterInstance.ephemeral() as instance:
        run = job.execute_in_process(instance=instance, raise_on_error=False)
        kept = "".join(str(record) for record in instance.all_logs(run.run_id))
    assert "the store says [key]" in kept
    assert KEY not in kept
