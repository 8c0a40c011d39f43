"""What is up to date, and what the nightly schedules therefore ask for."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.partitions import partitions_of
from assets.stage import key
from dagster_project.automation import spans
from dagster_project.build import build_defs
from dagster_project.environments import ROOT, Environment
from dagster_project.freshness import Freshness
from neuroscribe.kinds import read_study
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study, layer_key
from neuroscribe.study.stages import STAGES, provenance, stages_of
from neuroscribe.tables.records import SIMULATIONS
from neuroscribe.testing.rows import explanation_row, row, sequence_table
from resources.store.tables import Tables

STUDY = read_study(ROOT / "studies" / "embedded.toml")
CAPTURED, SAMPLED, EXPLAINED = (
    tuple(name for name in stages_of(STUDY) if STAGES[name].per_layer and STAGES[name].phase == phase)
    for phase in ("capture", "sample", "explain")
)


class Bench:
    """A store and an instance in which single layers can be made to look done."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.environment = Environment.read({"NEUROSCRIBE_STORE": str(folder)})
        self.instance = instance
        self.tables = Tables(str(folder))
        self.freshness = Freshness(STUDY, instance, self.tables)

    def done(self, stages: tuple[str, ...], layers: list[int], *, by: Study = STUDY) -> None:
        """Write the tables of some stages and layers as a study would, and tell Dagster."""
        if not self.tables.exists(STUDY.name, "corpus/sequences"):
            self.written("corpus", None)
            self.written("encoded_corpus", None)
        for stage in stages:
            for layer in layers:
                self.written(stage, layer, by=by)
                event = dg.AssetMaterialization(asset_key=key(STUDY, stage), partition=layer_key(layer))
                self.instance.report_runless_asset_event(event)

    def written(self, stage: str, layer: int | None, *rows: dict[str, Any], by: Study = STUDY) -> None:
        """Write a stage's tables, with their stamps."""
        inputs = Lineage(STUDY.name, self.tables).inputs(stage, layer)
        for table in STAGES[stage].tables:
            facts = provenance(by, stage) | {"inputs": inputs}
            self.tables.write(table.frame(list(rows)), STUDY.name, table.name, layer, provenance=facts)

    def explained(self, layer: int, *, status: str, model: str) -> None:
        """Write a layer's explanations anew: one, with this status, by this model."""
        row = explanation_row(layer=layer, status=status, explainer="highlights", model=model)
        self.written("explanations", layer, row)

    def simulated(self, layer: int, *, status: str) -> None:
        """Write a layer's simulations anew: one, with this status."""
        self.written("simulations", layer, row(SIMULATIONS, simulated=[0.0], status=status, model="qwen"))

    def checked(self, layer: int, *, passed: bool) -> None:
        """Score a layer in a run of Dagster's whose one check comes out so."""
        layers = partitions_of(STUDY, "scores")

        @dg.asset(key=key(STUDY, "scores"), partitions_def=layers)
        def scores() -> None: ...

        @dg.asset_check(asset=scores, name="value_in_range", partitions_def=layers, blocking=True)
        def check() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=passed)

        defs = dg.Definitions(assets=[scores], asset_checks=[check], jobs=[dg.define_asset_job("score")])
        defs.resolve_job_def("score").execute_in_process(
            instance=self.instance, partition_key=layer_key(layer), raise_on_error=False
        )

    def tick(self, name: str) -> Any:
        """Evaluate a schedule for one night."""
        repository = build_defs([STUDY], environment=self.environment).get_repository_def()
        # Closed here: a context that the garbage collector closes later disturbs the tests after it.
        with dg.build_schedule_context(
            instance=self.instance,
            repository_def=repository,
            scheduled_execution_time=datetime(2026, 1, 2, 1, tzinfo=UTC),
            resources=self.environment.resources(),
        ) as context:
            return repository.get_schedule_def(name).evaluate_tick(context)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with dg.instance_for_test() as instance:
        yield Bench(tmp_path / "store", instance)


def test_the_nightly_capture_asks_for_each_missing_span_once(bench: Bench) -> None:
    bench.done(CAPTURED, [0, 1, 7])

    requests = bench.tick("embedded_capture_nightly").run_requests

    assert spans_asked(requests) == [("layer_02", "layer_06"), ("layer_08", "layer_29")]


def test_a_layer_that_lacks_one_captured_asset_is_captured_again(bench: Bench) -> None:
    bench.done(CAPTURED, list(range(30)))
    (Path(bench.environment.store) / "embedded/neuron_records/layer_05.parquet").unlink()

    assert bench.freshness.captured() == set(range(30)) - {5}


def test_a_layer_that_an_older_study_wrote_is_captured_again(bench: Bench) -> None:
    older = STUDY.model_copy(update={"capture": STUDY.capture.model_copy(update={"top_k": 12})})
    bench.done(CAPTURED, [0, 1])
    bench.done(CAPTURED, [2], by=older)

    assert bench.freshness.captured() == {0, 1}


def test_files_that_dagster_does_not_know_are_made_again(bench: Bench) -> None:
    bench.done(CAPTURED, [0])
    with dg.instance_for_test() as other:
        assert Freshness(STUDY, other, bench.tables).captured() == set()


def spans_asked(requests: list[dg.RunRequest] | None) -> list[tuple[str, str]]:
    """The first and the last layer of each run that a schedule asks for."""
    return [
        (r.tags["dagster/asset_partition_range_start"], r.tags["dagster/asset_partition_range_end"])
        for r in requests or []
    ]


def test_the_nightly_sample_takes_one_run_for_layers_with_captured_ones_between(bench: Bench) -> None:
    bench.done(CAPTURED, list(range(25)))
    bench.done(SAMPLED, [0])

    requests = bench.tick("embedded_sample_nightly").run_requests

    # Layers 6 to 24 of the sample lack it, and 29 is not captured.
    assert spans_asked(requests) == [("layer_06", "layer_24")]


def test_the_nightly_sample_leaves_layers_out_that_are_not_captured(bench: Bench) -> None:
    bench.done(CAPTURED, [0, 12, 13, 18])

    requests = bench.tick("embedded_sample_nightly").run_requests

    assert spans_asked(requests) == [(f"layer_{n}", f"layer_{n}") for n in ("00", "12", "18")]


def test_the_nightly_explanation_takes_captured_layers_of_the_sample_that_lack_scores(bench: Bench) -> None:
    bench.done(CAPTURED, [0, 12, 18, 19, 29])
    bench.done(SAMPLED, [0, 12, 18, 19])
    bench.done(EXPLAINED, [12])

    requests = bench.tick("embedded_explain_nightly").run_requests

    assert [request.partition_key for request in requests or []] == ["layer_00", "layer_18"]


def test_a_layer_whose_scores_a_check_blocks_is_not_up_to_date_until_it_passes(bench: Bench) -> None:
    bench.done(CAPTURED + SAMPLED + EXPLAINED, [6, 12])
    bench.checked(6, passed=False)
    bench.checked(12, passed=True)
    assert bench.freshness.explained() == {12}

    bench.checked(6, passed=True)
    assert bench.freshness.explained() == {6, 12}


def test_a_layer_with_a_failed_call_is_asked_again_and_a_baseline_without_tokens_is_not(bench: Bench) -> None:
    bench.done(CAPTURED + SAMPLED, [0, 6, 12])
    explained = EXPLAINED.index("explanations")
    bench.done(EXPLAINED[:explained], [6, 12])
    bench.explained(6, status="failed", model="qwen")
    bench.explained(12, status="failed", model="none")
    bench.done(EXPLAINED, [0])
    bench.done(EXPLAINED[explained + 1 :], [6, 12])
    for layer in (6, 12):
        event = dg.AssetMaterialization(asset_key=key(STUDY, "explanations"), partition=layer_key(layer))
        bench.instance.report_runless_asset_event(event)

    assert bench.freshness.explained() == {0, 12}


def test_a_layer_with_a_failed_simulation_is_asked_again(bench: Bench) -> None:
    bench.done(CAPTURED + SAMPLED, [0, 6])
    simulated = EXPLAINED.index("simulations")
    bench.done(EXPLAINED[: simulated + 1], [0, 6])
    bench.simulated(0, status="ok")
    bench.simulated(6, status="failed")
    bench.done(EXPLAINED[simulated + 1 :], [0, 6])

    assert bench.freshness.explained() == {0}


def test_scores_of_explanations_that_were_made_anew_are_not_up_to_date(bench: Bench) -> None:
    bench.done(CAPTURED + SAMPLED + EXPLAINED, [0, 6])
    bench.explained(6, status="ok", model="none")

    assert bench.freshness.explained() == {0}
    assert bench.freshness.captured() == {0, 6}


def test_a_corpus_that_is_gone_or_has_changed_leaves_nothing_up_to_date(bench: Bench) -> None:
    bench.done(CAPTURED + SAMPLED + EXPLAINED, [0])
    assert bench.freshness.captured() == bench.freshness.explained() == {0}

    path = bench.tables.path(STUDY.name, "corpus/sequences")
    frame = sequence_table([[1, 2]])
    bench.tables.write(frame, STUDY.name, "corpus/sequences", provenance=provenance(STUDY, "corpus"))
    assert bench.freshness.captured() == bench.freshness.explained() == set()

    path.unlink()
    assert bench.freshness.captured() == set()


def test_a_night_with_nothing_missing_says_so(bench: Bench) -> None:
    bench.done(CAPTURED, list(range(STUDY.subject.layers)))

    data = bench.tick("embedded_capture_nightly")

    assert not data.run_requests
    assert data.skip_message == "all 30 layers of embedded are captured"


def test_a_night_that_lacks_only_the_text_by_an_encoder_asks_for_that_alone(bench: Bench) -> None:
    bench.done(CAPTURED, list(range(STUDY.subject.layers)))
    (Path(bench.environment.store) / "embedded/encoded_corpus.parquet").unlink()

    assert bench.freshness.stale_texts() == ["encoded_corpus"]
    (request,) = bench.tick("embedded_capture_nightly").run_requests

    assert request.asset_selection == [key(STUDY, "encoded_corpus")]


def test_spans_are_contiguous() -> None:
    assert spans([0, 1, 2, 5, 7, 8]) == [(0, 2), (5, 5), (7, 8)]
    assert spans([]) == []
