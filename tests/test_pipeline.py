"""The whole graph on a subject whose neurons are known, with a scripted LLM behind a real HTTP server."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import torch

from assets.stage import key
from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.forget import chosen_stages, forget
from dagster_project.freshness import Freshness
from dagster_project.launch import Launcher
from neuroscribe.capture.stage import layer_records
from neuroscribe.errors import StoreError, StudyError
from neuroscribe.kinds import read_study
from neuroscribe.publish.layouts import LAYOUTS
from neuroscribe.publish.stage import publish
from neuroscribe.score.rules import rules_for
from neuroscribe.study.dues import REGIMES
from neuroscribe.study.publishing import PublishSpec
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import provenance
from neuroscribe.testing.layouts import NeuronFiles
from neuroscribe.testing.planted import CONSTANT, DEAD, LAYERS, NEURONS, PLANTED, PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from resources.store.datasets import DatasetFolders
from resources.store.tables import Tables


@dataclass
class Pipeline:
    """One finished run of the planted study."""

    study: Study
    tables: Tables
    instance: dg.DagsterInstance
    server: ScriptedServer
    environment: Environment

    def read(self, table: str) -> pl.DataFrame:
        return self.tables.read(self.study.name, table)

    def again(self) -> None:
        """Bring the study up to date once more."""
        defs = build_defs([self.study], environment=self.environment)
        launcher = Launcher(self.study, defs, self.instance, self.environment)
        launcher.capture()
        launcher.sample(self.study.sampled_layers)
        for layer in self.study.sampled_layers:
            launcher.explain(layer)
        launcher.publish()


def _pipeline(folder: Path, script: PlantedScript) -> Iterator[Pipeline]:
    with ScriptedServer(script, model=MODEL) as server, dg.instance_for_test() as instance:
        study = read_study(write_planted_study(folder, base_url=server.base_url))
        environment = Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})
        pipeline = Pipeline(study, Tables(environment.store), instance, server, environment)
        pipeline.again()
        yield pipeline


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The LLM explains every neuron rightly."""
    yield from _pipeline(tmp_path_factory.mktemp("right"), PlantedScript())


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The LLM explains every neuron by what another one does."""
    yield from _pipeline(tmp_path_factory.mktemp("wrong"), PlantedScript(wrong=True))


def _headline(pipeline: Pipeline) -> pl.DataFrame:
    """Scores of the LLM's explanations over the corpus, but for the constant neurons."""
    constant = [layer * NEURONS + neuron for layer, neuron in CONSTANT]
    return pipeline.read("scores").filter(
        pl.col("explainer") == "token_pairs",
        pl.col("scorer") == "correlation_all_at_once",
        pl.col("regime") == "corpus",
        pl.col("chosen"),
        ~(pl.col("layer").cast(pl.Int32) * NEURONS + pl.col("neuron")).is_in(constant),
    )


def test_right_explanations_score_at_least_95_hundredths(right: Pipeline) -> None:
    texts = right.read("explanations").select("explanation_id", "text")
    rows = _headline(right).join(texts, on="explanation_id").to_dicts()

    said_right = [row for row in rows if row["text"] == PLANTED[row["layer"], row["neuron"]].explanation]

    assert len(rows) == LAYERS * (NEURONS - 2)
    # A neuron of two topics whose training exemplars show one of them is explained by half.
    assert len(said_right) >= len(rows) - 1
    assert min(row["value"] for row in said_right) >= 0.95


def test_wrong_explanations_score_at_most_one_tenth(wrong: Pipeline) -> None:
    scores = _headline(wrong)

    assert len(scores) == LAYERS * (NEURONS - 2)
    assert scores["value"].drop_nulls().max() <= 0.1  # type: ignore[operator]


def test_the_constant_neuron_has_no_score_and_says_why(right: Pipeline) -> None:
    scores = right.read("scores").filter(
        pl.col("explainer") == "token_pairs", pl.col("scorer") == "correlation_all_at_once"
    )

    for layer, neuron in CONSTANT:
        own = scores.filter(pl.col("layer") == layer, pl.col("neuron") == neuron)
        assert own["regime"].to_list() == list(REGIMES)
        assert own["value"].to_list() == [None] * 3
        assert own["null_reason"].to_list() == ["constant truth"] * 3


def test_the_dead_neuron_costs_no_call(right: Pipeline) -> None:
    statistics, explanations = right.read("activations/statistics"), right.read("explanations")

    for layer, neuron in DEAD:
        own = statistics.filter(pl.col("layer") == layer, pl.col("neuron") == neuron)
        assert own["dead"].to_list() == [True]
        assert not len(explanations.filter(pl.col("layer") == layer, pl.col("neuron") == neuron))
    asked = explanations.filter(pl.col("explainer") == "token_pairs")
    checks = len(right.study.sampled_layers)
    assert right.server.count("/v1/chat/completions") == asked["prompt_sha256"].n_unique() + checks


def test_the_explainer_never_saw_a_scored_sequence(right: Pipeline) -> None:
    shown = right.read("explanations").select("explanation_id", pl.col("sequence_ids").alias("sequence_id"))
    scored = right.read("simulations").select("explanation_id", "sequence_id")

    both = shown.explode("sequence_id").join(scored, on=["explanation_id", "sequence_id"])

    assert len(scored) > 0
    assert len(both) == 0


def test_every_score_stands_beside_its_ceiling_and_control(right: Pipeline) -> None:
    scores = _headline(right).filter(pl.col("value").is_not_null())

    assert scores["ceiling"].null_count() == 0
    assert scores["ceiling"].min() > 0.9  # type: ignore[operator]  - planted neurons follow the token alone
    assert scores["control"].drop_nulls().mean() < 0.1  # type: ignore[operator]
    assert scores.filter(pl.col("n_controls") >= 3).height > 0.9 * len(scores)
    # Of sequences that were drawn, no score is sure.
    assert (scores["ci_high"] - scores["ci_low"]).min() > 1e-3  # type: ignore[operator]


def test_the_graph_is_materialised_with_versions_counts_and_pictures(right: Pipeline) -> None:
    scores = right.instance.get_latest_materialization_event(key(right.study, "scores"))

    assert scores is not None
    assert scores.asset_materialization is not None
    metadata = scores.asset_materialization.metadata
    assert metadata["dagster/partition_row_count"].value == len(right.tables.read("planted", "scores", 1))
    assert "data:image/png;base64," in str(metadata["distribution"].value)
    assert scores.asset_materialization.tags is not None
    assert "dagster/code_version" in scores.asset_materialization.tags


def test_all_checks_ran_for_each_layer_and_passed(right: Pipeline) -> None:
    storage = right.instance.event_log_storage

    for rule in rules_for(right.study):
        history = storage.get_asset_check_execution_history(
            dg.AssetCheckKey(key(right.study, "scores"), rule.name), limit=100
        )
        assert len(history) >= LAYERS
        assert {record.status.value for record in history} == {"SUCCEEDED"}, rule.name


def test_hostile_text_survives_to_the_dataset_byte_for_byte(right: Pipeline) -> None:
    vocabulary = right.read("corpus/vocabulary")
    texts = sorted((Path(right.environment.store).parent / "text").glob("*.txt"))
    joined = b"".join(path.read_bytes() for path in texts)
    tokens = vocabulary["bytes"].to_list()

    for row in right.read("corpus/sequences").head(50).iter_rows(named=True):
        assert b"".join(tokens[token] for token in row["token_ids"]) in joined
    assert {b"<script>", b"\n", b"\t", b"\x07", "\u200f".encode()} <= set(tokens)


def test_what_a_study_with_other_capture_settings_left_is_neither_read_nor_published(right: Pipeline) -> None:
    capture = right.study.capture.model_copy(update={"top_k": right.study.capture.top_k + 1})
    other = right.study.model_copy(update={"capture": capture})
    resources = right.environment.resources()

    with pytest.raises(StoreError, match="captured from another corpus or with other settings"):
        layer_records(other, 0, right.read("corpus/sequences"), resources["tensors"])
    with pytest.raises(StoreError, match="has no scores to publish"):
        publish(
            other,
            tables=resources["tables"],
            datasets=resources["datasets"],
            expectations=resources["expectations"],
            licences={},
        )


def test_layers_of_another_text_are_refused_and_not_published(right: Pipeline, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(right.environment.store, store, symlinks=True)
    tables = Tables(str(store))
    sequences = tables.read(right.study.name, "corpus/sequences").with_columns(pl.lit("x").alias("source"))
    facts = provenance(right.study, "corpus")
    tables.write(sequences, right.study.name, "corpus/sequences", provenance=facts)
    environment = replace(right.environment, store=str(store))
    defs = build_defs([right.study], environment=environment)
    with dg.instance_for_test() as instance:
        result = defs.resolve_job_def("planted_explain").execute_in_process(
            partition_key="layer_00", instance=instance, raise_on_error=False
        )
        freshness = Freshness(right.study, right.instance, tables)

        (failure,) = (event for event in result.all_events if event.is_step_failure)
        assert "was made from other tables than those there now" in str(failure.step_failure_data.error)
        assert freshness.captured() == freshness.explained() == set()
    resources = environment.resources()
    with pytest.raises(StoreError, match="has no scores to publish"):
        publish(
            right.study,
            tables=resources["tables"],
            datasets=resources["datasets"],
            expectations=resources["expectations"],
            licences={},
        )


def test_a_study_with_a_second_layout_publishes_it_beside_the_same_tables(
    right: Pipeline, tmp_path: Path
) -> None:
    wider = right.study.model_copy(update={"publish": PublishSpec(layouts=("parquet", "neuron_files"))})
    resources = right.environment.resources()
    given = {name: resources[name] for name in ("tables", "expectations")}
    store = DatasetFolders(str(tmp_path))

    with pytest.raises(StudyError, match="names 'neuron_files', which is not among the known layouts"):
        publish(wider, **given, datasets=store, licences={})
    assert list(tmp_path.iterdir()) == []
    known = {**LAYOUTS, "neuron_files": NeuronFiles()}
    done = publish(wider, **given, datasets=store, licences={}, layouts=known)

    dataset, neurons = tmp_path / "planted" / "neuron_dataset", LAYERS * NEURONS
    assert [(folder.path, folder.files) for folder in done.folders] == [("neurons", neurons)]
    assert len((dataset / "neurons/SHA256SUMS").read_text(encoding="utf-8").splitlines()) == neurons
    mean = right.read("activations/statistics").filter(layer=0, neuron=3)["mean"].item()
    assert json.loads((dataset / "neurons/0/3.json").read_bytes())["mean"] == mean
    for table in ("scores", "explanations", "activations/statistics"):
        assert pl.read_parquet(dataset / "data" / table / "*.parquet").equals(right.read(table))


def test_the_scales_of_histograms_and_quantiles_are_in_the_files_and_the_manifest(right: Pipeline) -> None:
    dataset = Path(right.environment.store) / "planted" / "neuron_dataset"
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))["provenance"]
    own = right.tables.path("planted", "activations/statistics", 0)
    statistics = right.read("activations/statistics")

    for path in (str(own), dataset / "data/activations/statistics/layer_00.parquet"):
        stored = pl.read_parquet_metadata(path)
        assert json.loads(stored["neuroscribe.histogram_edges"]) == manifest["histogram_edges"]
        assert json.loads(stored["neuroscribe.quantile_levels"]) == manifest["quantile_levels"]
    assert len(manifest["histogram_edges"]) == len(statistics["histogram"][0]) + 1
    assert len(manifest["quantile_levels"]) == len(statistics["quantiles"][0])


def test_files_and_manifest_say_by_what_the_activations_were_made(right: Pipeline) -> None:
    dataset = Path(right.environment.store) / "planted" / "neuron_dataset"
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))["provenance"]
    (made,) = manifest["made_by"]
    assert (made["device"], made["dtype"]) == ("cpu", "float32")
    assert made["libraries"]["torch"] == torch.__version__
    assert made["weights"].startswith("sha256:")
    own = right.tables.path("planted", "activations/statistics", 0)
    assert json.loads(pl.read_parquet_metadata(str(own))["neuroscribe.made_by"]) == made


def test_running_again_makes_no_call_and_the_same_tables(right: Pipeline) -> None:
    before = {name: right.read(name) for name in ("neuron_records", "explanations", "simulations", "scores")}
    chats, echoes = right.server.count("/v1/chat/completions"), right.server.count("/v1/completions")

    right.again()

    checks = len(right.study.sampled_layers)
    assert right.server.count("/v1/chat/completions") == chats + checks  # the tiny check before each layer
    assert right.server.count("/v1/completions") == echoes + checks  # and one that prompts are still scored
    for name, frame in before.items():
        assert right.read(name).equals(frame), name


def test_a_study_with_the_fewest_exemplars_is_scored_as_far_as_that_goes(tmp_path: Path) -> None:
    with ScriptedServer(PlantedScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        path = write_planted_study(tmp_path, base_url=server.base_url)
        fewest = "[capture]\ntop_k = 4\nrandom_sequences = 6\nrandom_exemplars = 3\n[sample]\nlayers = [0]\n"
        few = "sequences = 100\nsequence_length"
        text = path.read_text(encoding="utf-8").replace("sequences = 300\nsequence_length", few)
        text = text.replace("excerpts = 5", "excerpts = 1").replace("[llm]", fewest + "[llm]")
        path.write_text(text + "[scoring]\nsequences_per_split = 1\nmax_unscored_share = 1.0\n")
        study = read_study(path)
        environment = Environment.read({"NEUROSCRIBE_STORE": str(tmp_path / "store"), "NEUROSCRIBE_HUB": "0"})
        pipeline = Pipeline(study, Tables(environment.store), instance, server, environment)
        pipeline.again()

        scores = pipeline.read("scores")
        most = scores.group_by("regime", maintain_order=True).agg(pl.col("n_sequences").max())
        assert most.rows() == [("corpus", 20), ("top_and_random", 2), ("random_only", 1)]


def test_a_layer_that_was_forgotten_is_made_again_from_stored_answers(right: Pipeline) -> None:
    stages = ["explanations", "simulations", "scores", "descriptions"]
    before = {stage: right.read(stage) for stage in stages}
    chats, echoes = right.server.count("/v1/chat/completions"), right.server.count("/v1/completions")

    def explained() -> set[int]:
        return Freshness(right.study, right.instance, right.tables).explained()

    forget(right.study, right.environment, [0], chosen_stages(right.study, ",".join(stages)), yes=True)
    assert explained() == set(right.study.sampled_layers) - {0}  # Dagster still has its partition on record
    defs = build_defs([right.study], environment=right.environment)
    Launcher(right.study, defs, right.instance, right.environment).explain(0)
    assert explained() == set(right.study.sampled_layers)
    assert right.server.count("/v1/chat/completions") == chats + 1  # the tiny check before the layer
    assert right.server.count("/v1/completions") == echoes + 1
    for stage, frame in before.items():
        assert right.read(stage).equals(frame), stage
