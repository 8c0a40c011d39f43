"""A whole study at a vendor whose API is not OpenAI's: explained, simulated and scored over its own wire."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.plan import study_plan
from neuroscribe.errors import CapabilityError
from neuroscribe.kinds import read_study
from neuroscribe.simulate.stage import check_models
from neuroscribe.study.spec import Study
from neuroscribe.testing.planted import CONSTANT, NEURONS, PLANTED, PlantedScript
from neuroscribe.testing.planted_study import write_planted_study
from neuroscribe.testing.server_messages import MessagesServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow
LOG_PROBABILITIES = '[simulators.all_at_once]\nexplainers = ["token_pairs"]\n'
ANSWERS = "".join(
    f'[simulators.{kind}]\nexplainers = ["token_pairs"]\n' for kind in ("matching_words", "structured")
)
LAYER = 1


@dataclass
class Finished:
    """One finished run of a layer of the planted study."""

    study: Study
    environment: Environment
    server: MessagesServer
    calls: int
    """Requests until the run had ended."""

    def read(self, table: str) -> pl.DataFrame:
        return Tables(self.environment.store).read(self.study.name, table)


def _study(folder: Path, server: MessagesServer, simulators: str) -> Study:
    path = write_planted_study(folder, base_url=server.base_url, provider="anthropic", sequences=150)
    path.write_text(path.read_text().replace(LOG_PROBABILITIES, simulators))
    return read_study(path)


def _environment(folder: Path) -> Environment:
    return Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("messages")
    with MessagesServer(PlantedScript()) as server, dg.instance_for_test() as instance:
        study, environment = _study(folder, server, ANSWERS), _environment(folder)
        launcher = Launcher(study, build_defs([study], environment=environment), instance, environment)
        launcher.capture()
        launcher.sample([LAYER])
        launcher.explain(LAYER)
        yield Finished(study, environment, server, len(server.calls))


def test_right_explanations_score_high_by_words_and_by_json(finished: Finished) -> None:
    explanations = finished.read("explanations").filter(pl.col("explainer") == "token_pairs")
    assert set(explanations["status"]) == {"ok"}
    assert set(explanations["model"]) == {"scripted (messages)"}
    constant = [neuron for layer, neuron in CONSTANT if layer == LAYER]
    for kind in ("matching_words", "structured"):
        scores = finished.read("scores").filter(
            pl.col("explainer") == "token_pairs",
            pl.col("scorer") == f"correlation_{kind}",
            pl.col("regime") == "top_and_random",
            ~pl.col("neuron").is_in(constant),
        )
        rows = scores.join(explanations.select("explanation_id", "text"), on="explanation_id").to_dicts()
        right = [row for row in rows if row["text"] == PLANTED[LAYER, row["neuron"]].explanation]
        assert len(rows) == NEURONS - 2
        assert len(right) >= len(rows) - 1
        assert min(row["value"] for row in right) >= 0.95


def test_every_question_went_over_the_vendors_wire_and_json_through_a_tool(finished: Finished) -> None:
    asked = [body for _, body in finished.server.calls]
    assert {path for path, _ in finished.server.calls} == {"/v1/messages"}
    by_tool = [body for body in asked if "tool_choice" in body]
    begun = [body for body in asked if body["messages"][-1]["role"] == "assistant"]
    assert by_tool
    assert begun
    others = [body["messages"] for body in asked if body not in by_tool and body not in begun]
    assert others == [[{"role": "user", "content": "Say yes."}]] * len(others)


def test_nothing_is_asked_again_and_the_plan_knows_that(finished: Finished) -> None:
    plan = study_plan(finished.study, finished.environment, [LAYER])
    assert set(plan.filter(pl.col("answered") > 0)["name"]) == {"token_pairs", "matching_words", "structured"}
    assert plan["calls"].sum() == 0
    assert len(finished.server.calls) == finished.calls


def test_a_simulator_that_reads_log_probabilities_is_refused_before_any_question(tmp_path: Path) -> None:
    with MessagesServer(PlantedScript()) as server:
        study = _study(tmp_path, server, LOG_PROBABILITIES)
        models = _environment(tmp_path).resources()
        with pytest.raises(CapabilityError, match=r"It can do: .*matching_words.*Name one of those"):
            asyncio.run(check_models(study, llm=models["llm"], encoders=models["encoders"]))
        assert len(server.calls) == 1  # whether server, key and model work
