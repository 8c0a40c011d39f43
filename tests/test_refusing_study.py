"""A server that refuses what is not needed gives the same results as one that takes everything."""

import asyncio
from collections.abc import Collection
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from neuroscribe.errors import LLMError
from neuroscribe.kinds import read_study
from neuroscribe.simulate.stage import check_models
from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from resources.store.tables import Tables

LAYER = 1
KINDS = "".join(
    f'[{table}.{kind}]\nexplainers = ["token_pairs"]\n'
    for table, kind in (
        ("simulators", "all_at_once"),
        ("simulators", "matching_words"),
        ("simulators", "structured"),
        ("scorers", "detection"),
    )
)
REFUSED = ("seed", "temperature", "max_tokens", "system")


def written(folder: Path, server: ScriptedServer) -> Path:
    path = write_planted_study(folder, base_url=server.base_url, sequences=150)
    before, all_at_once, _ = path.read_text().partition("[simulators.all_at_once]")
    assert all_at_once
    path.write_text(before + KINDS)
    return path


def environment(folder: Path) -> Environment:
    return Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})


def results(folder: Path, refuses: Collection[str]) -> tuple[dict[str, pl.DataFrame], ScriptedServer]:
    with ScriptedServer(PlantedScript(), model=MODEL, refuses=refuses) as server:
        with dg.instance_for_test() as instance:
            study, where = read_study(written(folder, server)), environment(folder)
            launcher = Launcher(study, build_defs([study], environment=where), instance, where)
            launcher.capture()
            launcher.sample([LAYER])
            launcher.explain(LAYER)
        tables = ("explanations", "simulations", "judgements", "scores")
        return {table: Tables(where.store).read(study.name, table) for table in tables}, server


@pytest.mark.slow
def test_a_study_at_a_server_that_refuses_much_ends_with_the_same_results(tmp_path: Path) -> None:
    taking, _ = results(tmp_path / "taking", [])
    refusing, server = results(tmp_path / "refusing", REFUSED)

    for table, frame in taking.items():
        raw = [name for name in frame.columns if name.startswith("raw")]  # holds ids, which count requests
        assert_frame_equal(frame.drop(raw), refusing[table].drop(raw))
    refused = [body for _, body in server.calls if {*REFUSED} & {*body, *map(_first_role, [body])}]
    assert 0 < len(refused) <= 3 * len(REFUSED)  # each stage's first questions, at most


def _first_role(body: dict[str, list[dict[str, str]]]) -> str:
    return body["messages"][0]["role"] if "messages" in body else ""


def test_what_a_run_would_be_refused_for_ends_it_before_the_capture(tmp_path: Path) -> None:
    class Strict(PlantedScript):
        def reply(self, prompt: str) -> str | ScriptedFault:
            worked = prompt.count("\n\n") > 1
            return ScriptedFault.error(400, "one turn is enough") if worked else super().reply(prompt)

    with ScriptedServer(Strict(), model=MODEL) as server:
        study = read_study(written(tmp_path, server))
        models = environment(tmp_path).resources()
        with pytest.raises(LLMError, match="one turn is enough"):
            asyncio.run(check_models(study, llm=models["llm"], encoders=models["encoders"]))
