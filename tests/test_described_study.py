"""A whole study with several explainers and recognisable neurons: described by the right one, said first."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.stage import key
from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.outcome import outcome
from dagster_project.plan import study_plan
from neuroscribe.kinds import read_study
from neuroscribe.publish.stage import publish
from neuroscribe.study.spec import Study
from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryDatasets
from resources.expectations import Expectations
from resources.store.tables import Tables

pytestmark = pytest.mark.slow

MORE = """
[explainers.one_token]
kind = "token_list"
tokens = 1
[simulators.token_match]
explainers = ["one_token", "token_list"]
[sample]
neurons_per_layer = 3
recognisable = 2
"""


class Run:
    """A planted study whose lists are taken literally, in a store and an instance of its own."""

    def __init__(self, folder: Path, base_url: str, instance: dg.DagsterInstance) -> None:
        path = write_planted_study(folder, base_url=base_url)
        path.write_text(path.read_text(encoding="utf-8") + MORE, encoding="utf-8")
        self.study: Study = read_study(path)
        store = {"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"}
        self.environment = Environment.read(store | {"NEUROSCRIBE_STUDIES": str(path.parent)})
        self.tables = Tables(self.environment.store)
        defs = build_defs([self.study], environment=self.environment)
        self.instance = instance
        self.launcher = Launcher(self.study, defs, instance, self.environment)
        self.planned = self.plan()
        self.launcher.capture()
        self.launcher.sample([1])
        self.launcher.explain(1)

    def plan(self) -> pl.DataFrame:
        return study_plan(self.study, self.environment, [1])

    def made(self, stage: str) -> int:
        """Return how often an asset was materialised."""
        return len(self.instance.fetch_materializations(key(self.study, stage), limit=99).records)

    def table(self, name: str) -> pl.DataFrame:
        return self.tables.read(self.study.name, name, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("described")
    with ScriptedServer(PlantedScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        yield Run(folder, server.base_url, instance)


def test_every_neuron_of_both_samples_is_described(run: Run) -> None:
    described = run.table("descriptions")
    assert described["sample"].value_counts().sort("sample").rows() == [("random", 3), ("recognisable", 2)]
    for name in ("explanations", "scores"):
        sides = ["neuron", "sample"]
        assert set(run.table(name).select(sides).rows()) == set(described.select(sides).rows())


def test_recognisable_are_neurons_that_their_tokens_predict(run: Run) -> None:
    drawn = run.table("descriptions").filter(sample="recognisable")["neuron"].to_list()
    predicted = dict(run.table("predictability").select("neuron", "predicted").rows())
    assert all(predicted[neuron] > 0.9 for neuron in drawn)


def test_the_list_that_names_all_tokens_describes_unless_one_token_is_as_good(run: Run) -> None:
    described = run.table("descriptions").drop_nulls("score")
    assert described["valid_score"].null_count() == 0
    assert (described["score"] > 0.8).all()
    assert "token_list" in described["explainer"].to_list()


def test_the_report_shows_them_first_and_none_of_the_recognisable_is_in_a_mean(run: Run) -> None:
    text = outcome(run.study, run.environment, layers=[1], seconds={1: 1.0})
    first = " ".join(" ".join(text.splitlines()[2:4]).split())
    assert "explained, first those whose text names where they peak (the token between « and »)" in first
    described = run.table("descriptions")
    random = described.filter(sample="random")["score"].mean()
    (event,) = run.instance.fetch_materializations(key(run.study, "descriptions"), limit=9).records
    shown = event.asset_materialization
    assert shown is not None
    assert shown.metadata["mean_score"].value == pytest.approx(random)
    assert shown.metadata["recognisable"].value == 2


def test_the_plan_counts_the_recognisable_before_and_after_the_capture(run: Run) -> None:
    before = run.planned.filter(stage="explanation", name="token_pairs").row(0, named=True)
    assert before["neurons"] == 5
    after = run.plan()
    assert after["calls"].sum() == 0
    assert after["neurons"].to_list()[0] == 5


def test_the_dataset_holds_the_descriptions(run: Run) -> None:
    datasets = MemoryDatasets()
    publish(run.study, tables=run.tables, datasets=datasets, expectations=Expectations(), licences={})
    files = datasets.datasets[run.study.name]
    assert {"data/descriptions/layer_01.parquet", "data/predictability/layer_01.parquet"} <= set(files)


def test_running_again_makes_nothing_anew(run: Run) -> None:
    run.launcher.capture()
    made = {name: run.made(name) for name in ("predictability", "sampled_activations")}
    assert set(made.values()) == {1}
