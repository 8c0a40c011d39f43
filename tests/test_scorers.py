"""The whole graph with every scorer and several candidates, on a subject whose neurons are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.stage import key
from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.freshness import Freshness
from dagster_project.launch import Launcher
from dagster_project.outcome import outcome
from neuroscribe.kinds import read_study
from neuroscribe.report.tallies import llm_calls
from neuroscribe.score.rules import rules_for
from neuroscribe.study.spec import Study
from neuroscribe.testing.judging_script import JudgingScript
from neuroscribe.testing.planted import CONSTANT, PLANTED
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow

SCORERS = """
[scorers.detection]
explainers = ["token_pairs"]
excerpt_tokens = 8
[scorers.fuzzing]
explainers = ["token_pairs"]
excerpt_tokens = 8
[scorers.ablation]
simulators = ["all_at_once"]
[scoring]
calibration = "linear"
bootstrap_samples = 50
max_unscored_share = 0.6
[sample]
layers = [1]
"""


@dataclass
class Judged:
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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    folder = tmp_path_factory.mktemp("judged")
    with ScriptedServer(JudgingScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        path = write_planted_study(folder, base_url=server.base_url)
        text = path.read_text(encoding="utf-8").replace("excerpts = 5", "excerpts = 5\ncandidates = 2")
        path.write_text(text + SCORERS, encoding="utf-8")
        environment = Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})
        own = Judged(read_study(path), Tables(environment.store), instance, server, environment)
        launcher = own.launcher()
        launcher.capture()
        launcher.sample([1])
        launcher.explain(1)
        launcher.publish()
        yield own


def reported(run: Judged, scorer: str) -> pl.DataFrame:
    """Scores of the neurons that fire on some tokens and not on others, and were explained rightly."""
    constant = [neuron for layer, neuron in CONSTANT if layer == 1]
    right = [
        row["explanation_id"]
        for row in run.read("explanations").iter_rows(named=True)
        if row["text"] == PLANTED[1, row["neuron"]].explanation
    ]
    # Sizes, judgements and ablations have none over the corpus.
    own = run.read("scores").filter("chosen", scorer=scorer, split="test")
    own = own.filter(pl.col("regime") == ("corpus" if "corpus" in own["regime"] else "top_and_random"))
    return own.filter(~pl.col("neuron").is_in(constant), pl.col("explanation_id").is_in(right))


@pytest.mark.parametrize(
    "scorer",
    ["correlation_all_at_once", "r2_all_at_once", "deviation_all_at_once", "detection_balanced_accuracy",
     "fuzzing_balanced_accuracy"],
)  # fmt: skip
def test_right_explanations_pass_every_test(run: Judged, scorer: str) -> None:
    scores = reported(run, scorer).filter(pl.col("value").is_not_null())
    assert len(scores) >= 8
    assert scores["value"].median() >= 0.95
    assert scores["control"].drop_nulls().mean() < scores["value"].mean() - 0.2


def test_ablation_scores_neurons_that_write_and_is_null_for_those_that_write_nothing(run: Judged) -> None:
    scores = reported(run, "ablation_all_at_once")
    writing = scores.filter(pl.col("neuron") < 5)
    assert len(writing) == 5
    assert writing["value"].min() > 0.9
    silent = scores.filter(pl.col("neuron") >= 8)
    assert set(silent["null_reason"]) == {"ablation to the mean changes nothing"}


def test_first_tokens_give_an_auc(run: Judged) -> None:
    scores = reported(run, "detection_auc").filter(pl.col("value").is_not_null())
    assert len(scores) >= 8
    assert scores["value"].median() >= 0.95


def test_no_sequence_is_in_two_splits_and_no_explainer_saw_a_scored_one(run: Judged) -> None:
    records = run.read("neuron_records").filter(pl.col("kind") != "quantile")
    splits = records.group_by("layer", "neuron", "polarity", "sequence_id").agg(pl.col("split").n_unique())
    assert splits["split"].max() == 1
    owners = records.select("layer", "neuron", "polarity", "sequence_id", truly="split")
    layers = run.read("explanations").select("explanation_id", "layer")
    documents = run.read("corpus/sequences").select("sequence_id", "document_id")
    shown = run.read("explanations").select("explanation_id", sequence_id="sequence_ids")
    shown = shown.explode("sequence_id").join(documents, on="sequence_id")
    for table in ("simulations", "judgements", "ablations"):
        rows = run.read(table)
        used = rows.select("explanation_id", "neuron", "polarity", "sequence_id", "split")
        used = used.join(documents, on="sequence_id")
        assert len(used) > 0
        assert len(used.join(shown, on=["explanation_id", "document_id"])) == 0
        placed = used.join(layers, on="explanation_id").join(
            owners, on=["layer", "neuron", "polarity", "sequence_id"], how="left"
        )
        # What is drawn for the estimate over the corpus may be another exemplar, too, that is not shown.
        drawn = rows["stratum"].is_not_null() if "stratum" in rows.columns else pl.Series([False] * len(rows))
        assert ((placed["truly"] == placed["split"]).fill_null(False) | drawn).all()


def test_candidates_are_chosen_on_valid_and_reported_on_test(run: Judged) -> None:
    scores = run.read("scores").filter(explainer="token_pairs")
    regimes = {"correlation_all_at_once": "corpus", "detection_balanced_accuracy": "top_and_random"}
    for scorer, regime in regimes.items():
        own = scores.filter(scorer=scorer, split="valid", regime=regime)
        best = own.group_by("neuron").agg(pl.col("value").max().alias("best"))
        chosen = own.filter("chosen").join(best, on="neuron")
        assert chosen["value"].equals(chosen["best"].rename("value"))
        reported = scores.filter("chosen", scorer=scorer, split="test", regime=regime)
        assert reported["neuron"].is_unique().all()


def test_all_checks_pass_and_the_layer_is_fresh(run: Judged) -> None:
    storage = run.instance.event_log_storage
    for rule in rules_for(run.study):
        check = dg.AssetCheckKey(key(run.study, "scores"), rule.name)
        (record,) = storage.get_asset_check_execution_history(check, limit=10)
        assert record.status.value == "SUCCEEDED", rule.name
    assert Freshness(run.study, run.instance, run.tables).explained() == {1}


def test_the_dataset_holds_judgements_and_ablations_and_its_card_names_the_scorers(run: Judged) -> None:
    folder = Path(run.environment.store) / "planted" / "neuron_dataset"
    for table in ("judgements", "ablations"):
        assert pl.read_parquet(folder / "data" / table / "layer_01.parquet").equals(run.read(table))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Scorers: detection (detection), fuzzing (fuzzing), ablation (ablation)" in card


def test_the_scores_say_what_a_scored_neuron_costs(run: Judged) -> None:
    event = run.instance.get_latest_materialization_event(key(run.study, "scores"))
    assert event is not None
    assert event.asset_materialization is not None
    rows = event.asset_materialization.metadata["tokens_per_scored_neuron"].value
    found = {(row["explainer"], row["scored_by"]): row for row in (record.data for record in rows.records)}
    judgements = run.read("judgements").filter(scorer="detection")
    spent = int(judgements["prompt_tokens"].sum()) + int(judgements["completion_tokens"].sum())
    own = found["token_pairs", "detection"]
    assert own["scoring"] * own["scored_neurons"] == pytest.approx(spent, rel=0.01)  # it is rounded
    assert own["explaining"] > 0


def test_the_report_counts_questions_among_the_calls(run: Judged) -> None:
    text = outcome(run.study, run.environment, layers=[1], seconds={})
    assert "detection_balanced_accuracy of token_pairs" in text
    tables = [run.read(name) for name in ("explanations", "simulations", "judgements")]
    asked = sum(path != "/v1/models" for path, _ in run.server.calls)
    checks = asked - llm_calls(run.study, *tables)
    assert -len(tables[0]) <= checks <= 10  # neurons with one prompt share its answer


def test_running_again_asks_nothing_and_leaves_the_tables_as_they_are(run: Judged) -> None:
    before = {name: run.read(name) for name in ("judgements", "ablations", "scores")}
    calls = len(run.server.calls)
    run.launcher().explain(1)
    assert len(run.server.calls) - calls <= 6  # the checks before each stage
    for name, frame in before.items():
        assert run.read(name).equals(frame), name


def test_a_study_without_such_scorers_has_no_such_assets(run: Judged) -> None:
    plain = run.study.model_copy(update={"scorers": {}})
    keys = build_defs([plain], environment=run.environment).resolve_asset_graph().get_all_asset_keys()
    there = {asset.path[-1] for asset in keys}
    assert "scores" in there
    assert there.isdisjoint({"judgements", "ablations"})
    fresh = Freshness(plain, run.instance, run.tables)
    assert fresh.explained() == set()
