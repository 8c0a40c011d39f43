"""The whole graph on neurons that promote known tokens: labels say these, and steering finds the neurons."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.outcome import outcome
from dagster_project.plan import study_plan
from neuroscribe.kinds import read_study
from neuroscribe.report.tallies import llm_calls
from neuroscribe.study.spec import Study
from neuroscribe.testing.choosing_script import ChoosingScript
from neuroscribe.testing.planted import BODY, CITIES, GROUPS, MOTION, MUSIC, WEATHER
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow

LAYER = 1
WRITES = {0: BODY, 1: WEATHER, 2: MOTION, 3: MUSIC, 4: CITIES}
"""What neurons of layer 1 promote; the others write nothing."""
OUTPUT_HALF = """
[explainers.promotes]
promoted = 12
[explainers.output_tokens]
promoted = 12
[scorers.steering]
explainers = ["promotes", "output_tokens"]
[amplifying]
divergence = 6.0
[sample]
layers = [1]
"""


@dataclass
class Finished:
    """One finished run."""

    study: Study
    tables: Tables
    environment: Environment
    planned: pl.DataFrame
    """Before anything was captured."""

    def read(self, table: str) -> pl.DataFrame:
        return self.tables.read("planted", table)

    def of_writers(self, table: str, explainer: str) -> pl.DataFrame:
        return self.read(table).filter(pl.col("neuron") < len(WRITES), explainer=explainer).sort("neuron")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("output")
    with ScriptedServer(ChoosingScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        path = write_planted_study(folder, base_url=server.base_url)
        path.write_text(path.read_text(encoding="utf-8") + OUTPUT_HALF, encoding="utf-8")
        environment = Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})
        study = read_study(path)
        planned = study_plan(study, environment, [LAYER])
        own = Finished(study, Tables(environment.store), environment, planned)
        launcher = Launcher(study, build_defs([study], environment=environment), instance, environment)
        launcher.capture()
        launcher.sample([LAYER])
        launcher.explain(LAYER)
        launcher.publish()
        yield own


def test_labels_say_what_the_neurons_promote(run: Finished) -> None:
    listed, worded = (run.of_writers("explanations", name) for name in ("promotes", "output_tokens"))
    assert worded["text"].to_list() == [f"promotes {group}" for group in WRITES.values()]
    assert set(worded["half"]) == set(listed["half"]) == {"output"}
    for text, group in zip(listed["text"], WRITES.values(), strict=True):
        promoted = text.partition("; ")[0]
        assert all(f'"{token.strip()}"' in promoted for token in GROUPS[group])


@pytest.mark.parametrize("explainer", ["promotes", "output_tokens"])
def test_steering_finds_the_neurons_and_another_label_does_not(run: Finished, explainer: str) -> None:
    scores = run.of_writers("scores", explainer)
    assert set(scores["scorer"]) == {"steering"}
    assert scores["value"].to_list() == [1.0] * len(WRITES)
    assert scores["n_sequences"].to_list() == [5] * len(WRITES)
    assert scores["control"].mean() < 0.7


def test_simulators_are_not_asked_about_labels_of_the_output_half(run: Finished) -> None:
    output = run.read("explanations").filter(half="output")["explanation_id"]
    assert run.read("simulations").filter(pl.col("explanation_id").is_in(output)).is_empty()


def test_report_and_card_show_the_score(run: Finished) -> None:
    text = outcome(run.study, run.environment, layers=[LAYER], seconds={})
    assert "steering of promotes" in text
    folder = Path(run.environment.store) / "planted" / "neuron_dataset"
    assert "steering (steering)" in (folder / "README.md").read_text(encoding="utf-8")
    for table in ("effects", "choices"):
        assert pl.read_parquet(folder / "data" / table / "layer_01.parquet").equals(run.read(table))


def test_the_calls_of_choices_are_counted(run: Finished) -> None:
    tables = [run.read(name) for name in ("explanations", "simulations")]
    with_choices = llm_calls(run.study, *tables, None, run.read("choices"))
    asked = with_choices - llm_calls(run.study, *tables)
    texts = run.read("choices").join(tables[0].select("explanation_id", "text"), on="explanation_id")
    assert asked == texts.select("text", "neuron", "trial").n_unique() > 0
    planned = run.planned.filter(stage="choice")["calls"].sum()
    assert planned >= len(run.read("choices"))
