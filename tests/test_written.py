"""The whole graph with written sentences, intruders and many excerpts a call, on a subject that is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.stage import key
from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.outcome import outcome
from neuroscribe.kinds import read_study
from neuroscribe.report.tallies import llm_calls
from neuroscribe.score.intruders import intruders
from neuroscribe.score.rules import rules_for
from neuroscribe.study.spec import Study
from neuroscribe.testing.intruder_script import IntruderScript
from neuroscribe.testing.planted import CONSTANT, PLAIN, PLANTED, STOPS
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow

SCORERS = """
[scorers.sensitivity]
explainers = ["token_pairs"]
[scorers.sensitivity_templates]
explainers = ["token_list", "token_pairs"]
[scorers.detection]
explainers = ["token_pairs"]
excerpt_tokens = 8
per_call = 10
[scorers.fuzzing]
explainers = ["token_pairs"]
excerpt_tokens = 8
per_call = 10
[scorers.intruder]
excerpt_tokens = 4
[scoring]
max_unscored_share = 0.6
stability_neurons = 0
[sample]
layers = [1]
"""


@dataclass
class Written:
    """One finished run."""

    study: Study
    tables: Tables
    instance: dg.DagsterInstance
    server: ScriptedServer
    environment: Environment

    def read(self, table: str) -> pl.DataFrame:
        return self.tables.read("planted", table)

    def launcher(self) -> Launcher:
        defs = build_defs([self.study], environment=self.environment)
        return Launcher(self.study, defs, self.instance, self.environment)

    def scores(self, scorer: str, explainer: str) -> pl.DataFrame:
        """Scores of neurons that fire on some words and not on others, those of whole topics alone."""
        everywhere = [neuron for layer, neuron in CONSTANT if layer == 1]
        common = [neuron for (layer, neuron), truth in PLANTED.items() if truth.explanation in (PLAIN, STOPS)]
        own = self.read("scores").filter("chosen", scorer=scorer, explainer=explainer, split="test")
        return own.filter(~pl.col("neuron").is_in([*everywhere, *common]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    folder = tmp_path_factory.mktemp("written")
    with ScriptedServer(IntruderScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        path = write_planted_study(folder, base_url=server.base_url, sequences=200, documents=240)
        text = path.read_text(encoding="utf-8").replace("sequence_length = 16", "sequence_length = 64")
        path.write_text(text + SCORERS, encoding="utf-8")
        environment = Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})
        own = Written(read_study(path), Tables(environment.store), instance, server, environment)
        launcher = own.launcher()
        launcher.capture()
        launcher.sample([1])
        launcher.explain(1)
        launcher.publish()
        yield own


@pytest.mark.parametrize(
    ("scorer", "explainer"), [("sensitivity", "token_pairs"), ("sensitivity_templates", "token_list")]
)
def test_neurons_fire_on_sentences_from_right_labels_and_not_on_those_from_others(
    run: Written, scorer: str, explainer: str
) -> None:
    scores = run.scores(scorer, explainer)
    assert len(scores) >= 8
    assert scores["value"].null_count() == 0
    assert set(scores["regime"]) == {"written"}
    assert scores["value"].median() >= 0.9
    assert scores["control"].mean() < 0.2  # type: ignore[operator]
    assert (scores["value"] - scores["control"]).min() > 0.4  # type: ignore[operator]


def test_descriptions_are_no_phrases_for_templates_and_stop_no_publication(run: Written) -> None:
    scores = run.scores("sensitivity_templates", "token_pairs")
    assert scores["value"].null_count() == len(scores) > 0
    assert set(scores["null_reason"]) == {
        "the explanation lists no tokens or phrases that templates could take"
    }
    storage = run.instance.event_log_storage
    for rule in rules_for(run.study):
        check = dg.AssetCheckKey(key(run.study, "scores"), rule.name)
        (record,) = storage.get_asset_check_execution_history(check, limit=10)
        assert record.status.value == "SUCCEEDED", rule.name


@pytest.mark.parametrize("scorer", ["detection_balanced_accuracy", "fuzzing_balanced_accuracy"])
def test_many_excerpts_in_a_call_are_judged_as_rightly_as_one(run: Written, scorer: str) -> None:
    scores = run.scores(scorer, "token_pairs").drop_nulls("value")
    assert len(scores) >= 8
    assert scores["value"].median() >= 0.95
    assert scores["control"].drop_nulls().mean() < scores["value"].mean() - 0.2  # type: ignore[operator]
    judged = run.read("judgements").filter(scorer=scorer.partition("_")[0])
    assert judged["probability"].null_count() == len(judged)
    assert set(judged["status"]) == {"ok"}


def test_the_intruder_is_found_among_the_exemplars_of_planted_neurons(run: Written) -> None:
    found = intruders(run.read("choices"))
    everywhere = [neuron for layer, neuron in CONSTANT if layer == 1]
    shares = found.filter(~pl.col("neuron").is_in(everywhere))
    assert len(shares) >= 8
    assert shares["intruder"].median() == 1.0
    assert not len(found.filter(pl.col("neuron").is_in(everywhere)))  # silent nowhere


def test_the_dataset_holds_the_sentences_and_its_card_names_them(run: Written) -> None:
    folder = Path(run.environment.store) / "planted" / "neuron_dataset"
    for table in ("sentences", "choices"):
        assert pl.read_parquet(folder / "data" / table / "layer_01.parquet").equals(run.read(table))
    assert "## Table sentences" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_report_shows_sensitivities_and_counts_their_calls(run: Written) -> None:
    text = outcome(run.study, run.environment, layers=[1], seconds={})
    assert "sensitivity of token_pairs" in text
    names = ("explanations", "simulations", "judgements", "choices", "sentences")
    tables = {name: run.read(name) for name in names}
    asked = sum(path != "/v1/models" for path, _ in run.server.calls)
    checks = asked - llm_calls(run.study, *tables.values())
    assert -len(tables["explanations"]) <= checks <= 12  # neurons with one prompt share its answer


def test_running_again_asks_nothing_and_leaves_the_tables_as_they_are(run: Written) -> None:
    before = {name: run.read(name) for name in ("judgements", "sentences", "choices", "scores")}
    calls = len(run.server.calls)
    run.launcher().explain(1)
    assert len(run.server.calls) - calls <= 10  # the checks before each stage
    for name, frame in before.items():
        assert run.read(name).equals(frame), name
