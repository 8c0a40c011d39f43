"""The checks as Dagster runs them: after an asset, alone, over a range, or over all layers that there are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.checks import SUITES, check_keys
from assets.stage import key
from assets.standing import standing
from dagster_project.build import build_defs
from dagster_project.checks import main
from dagster_project.environments import Environment
from dagster_project.freshness import Freshness
from dagster_project.jobs import AssetJob
from dagster_project.launch import span_tags
from neuroscribe.report.checks import standing_line, warning_lines
from neuroscribe.score.comparisons import MEANS
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import layer_key
from neuroscribe.study.stages import STAGES, provenance, stages_of
from neuroscribe.tables.records import SCORES
from neuroscribe.testing.planted_study import write_planted_study
from neuroscribe.testing.rows import explanation_row, filled, row, sequence_table, vocabulary_table
from neuroscribe.testing.studies import tiny_study
from resources.store.tables import Tables

STUDY = tiny_study(
    subject={"layers": 4},
    corpus={"sequences": 2, "sequence_length": 4},
    explainers={"token_list": {}},
    simulators={"embedding": {"explainers": ["token_list"]}},
    sample={"neurons_per_layer": 6},
)


class Bench:
    """A store whose tables are written by hand, and an instance that is told of them."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.environment = Environment.read({"NEUROSCRIBE_STORE": str(folder)})
        self.tables, self.instance = Tables(str(folder)), instance
        self.defs = build_defs([STUDY], environment=self.environment)

    def write(self, stage: str, layer: int | None, *frames: pl.DataFrame, **told: Any) -> None:
        """Write a stage's tables and say so, with metadata, as a run of its own would."""
        inputs = Lineage(STUDY.name, self.tables).inputs(stage, layer)
        facts = provenance(STUDY, stage) | {"inputs": inputs}
        for table, frame in zip(STAGES[stage].tables, frames, strict=True):
            self.tables.write(frame, STUDY.name, table.name, layer, provenance=facts)
        partition = None if layer is None else layer_key(layer)
        partitions = None if partition is None else dg.StaticPartitionsDefinition([partition])

        @dg.asset(key=key(STUDY, stage), partitions_def=partitions)
        def made() -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata=told)

        assert dg.materialize([made], instance=self.instance, partition_key=partition).success

    def statistics(self, layer: int, *dead: int, neurons: int = 8) -> None:
        """Write statistics of a layer's neurons, some of them dead."""
        usual = {"layer": layer, "n_tokens": 8, "mean": 0.5, "max": 1.0, "fraction_positive": 0.5}
        rows = ({**usual, "neuron": n, "dead": n in dead} for n in range(neurons))
        self.write("activations", layer, filled(STAGES["activations"].tables[0], *rows))

    def scores(self, layer: int, value: float) -> None:
        """Write six neurons' explanations and scores, all of this value, and before them what is empty."""
        neurons = range(6)
        explained = [explanation_row(n, layer=layer, explainer="token_list", model="none") for n in neurons]
        for stage in stages_of(STUDY):
            if stage == "scores":
                break
            if STAGES[stage].per_layer or (stage == "encoded_corpus" and layer == 0):
                rows = explained if stage == "explanations" else []
                place = layer if STAGES[stage].per_layer else None
                self.write(stage, place, STAGES[stage].tables[0].frame(rows))
        scored = [
            row(SCORES, **_score(n, value), layer=layer, regime=regime)
            for n in neurons
            for regime in ("corpus", "top_and_random", "random_only")
        ]
        self.write("scores", layer, SCORES.frame(scored), **{MEANS: {"token_list": value}})

    def check(self, *checks: dg.AssetCheckKey, **tags: str) -> dg.ExecuteInProcessResult:
        """Run checks alone."""
        job: AssetJob = dg.define_asset_job("alone", dg.AssetSelection.checks(*checks))
        defs = dg.Definitions.merge(self.defs, dg.Definitions(jobs=[job]))
        return defs.resolve_job_def("alone").execute_in_process(
            instance=self.instance, tags=tags, raise_on_error=False
        )

    def shown(self, check: dg.AssetCheckKey) -> dict[str | None, bool]:
        """Return what the page shows of a check by partition: whether it passed, where that still holds."""
        found = self.instance.event_log_storage.get_asset_check_partition_info([check])
        return {
            each.partition_key: each.latest_execution_status.value == "SUCCEEDED"
            for each in found
            if each.is_current and each.latest_execution_status.value != "PLANNED"
        }


def _score(neuron: int, value: float) -> dict[str, Any]:
    place = {"explanation_id": f"e{neuron}0", "neuron": neuron, "explainer": "token_list"}
    sound = {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "control": 0.0}
    counts = {"n_sequences": 2, "n_tokens": 8, "chosen": True}
    return place | sound | counts | {"scorer": "correlation_embedding"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with dg.DagsterInstance.ephemeral() as instance:
        made = Bench(tmp_path / "store", instance)
        sequences = sequence_table([[0, 1, 2, 3], [3, 2, 1, 0]], held_out=[1])
        made.write("corpus", None, sequences, vocabulary_table([b"a", b"b", b"c", b"d"]))
        yield made


def evaluated(result: dg.ExecuteInProcessResult) -> list[tuple[str, str | None, bool]]:
    """Return check, partition and outcome of the evaluations of a run."""
    found = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return [(each.check_name, each.partition, each.passed) for each in found]


DEAD = dg.AssetCheckKey(key(STUDY, "activations"), "few_dead_neurons")
WHOLE = dg.AssetCheckKey(key(STUDY, "activations"), "every_neuron_there")


def test_one_check_is_executed_alone_on_one_layer_on_a_range_or_on_all_that_there_are(bench: Bench) -> None:
    for layer in (0, 1, 3):
        bench.statistics(layer, *range(5 * (layer == 1)))

    one = bench.check(DEAD, **{"dagster/partition": "layer_01"})
    assert evaluated(one) == [("few_dead_neurons", "layer_01", False)]
    assert bench.shown(DEAD) == {"layer_01": False}
    several = bench.check(DEAD, **span_tags(0, 1))
    assert evaluated(several) == [
        ("few_dead_neurons", "layer_00", True), ("few_dead_neurons", "layer_01", False),
    ]  # fmt: skip
    every = bench.check(DEAD)
    assert evaluated(every)[:3] == [
        ("few_dead_neurons", f"layer_{n:02}", n != 1) for n in (0, 1, 3)
    ]  # fmt: skip
    assert evaluated(every)[3:] == [("few_dead_neurons", None, False)]
    assert one.success
    assert several.success
    assert every.success  # a warning stops nothing
    assert bench.shown(DEAD) == {"layer_00": True, "layer_01": False, "layer_03": True, None: False}


def test_a_layer_that_is_made_again_has_no_verdict_until_it_is_checked(bench: Bench) -> None:
    bench.statistics(0)
    bench.check(DEAD)
    assert bench.shown(DEAD)["layer_00"]
    bench.statistics(0, *range(6))
    assert "layer_00" not in bench.shown(DEAD)


def test_a_failed_error_fails_the_run_and_leaves_the_layer_to_be_made_again(bench: Bench) -> None:
    bench.statistics(0, neurons=7)
    result = bench.check(*check_keys(STUDY, "activations"), **{"dagster/partition": "layer_00"})
    assert not result.success
    assert [name for name, _, passed in evaluated(result) if not passed] == ["every_neuron_there"]
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "every_neuron_there" in str(failed.step_failure_data.error)
    assert Freshness(STUDY, bench.instance, bench.tables)._blocked("activations", {0, 1}) == {0}


def test_what_is_not_there_or_of_other_tables_is_refused_with_the_remedy(bench: Bench) -> None:
    bench.statistics(0)
    bench.write("corpus", None, sequence_table([[0, 1, 2, 3]]), vocabulary_table([b"a"]))
    for tags in ({}, {"dagster/partition": "layer_00"}, {"dagster/partition": "layer_02"}):
        result = bench.check(DEAD, **tags)
        (failed,) = [event for event in result.all_events if event.is_step_failure]
        assert "has no tables" in str(failed.step_failure_data.user_failure_data)
        assert "materialise it first" in str(failed.step_failure_data.user_failure_data)


def test_counts_of_warnings_stand_beside_the_asset_and_in_the_runs_log_and_page(bench: Bench) -> None:
    bench.statistics(0, *range(6))
    bench.statistics(1)
    result = bench.check(*check_keys(STUDY, "activations"), **span_tags(0, 1))

    observed = [
        event.asset_observation_data.asset_observation
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION
    ]
    counts = {each.partition: each.metadata["checks_warn"].value for each in observed}
    assert counts == {"layer_00": 1, "layer_01": 0}
    logged = [entry.user_message for entry in bench.instance.all_logs(result.run_id)]
    assert "activations: 1 check warns: layer_00 few_dead_neurons (6 of 8 rows (75.0%))" in logged
    found = standing(STUDY, bench.instance)
    assert standing_line(found) == "13 checks pass, 1 warn"
    assert warning_lines(found, 100)[1:] == [
        "  warns: activations layer_00 few_dead_neurons (6 of 8 rows (75.0%))"
    ]


LOWER = dg.AssetCheckKey(key(STUDY, "scores"), "not_lower_than_before")
ALIKE = dg.AssetCheckKey(key(STUDY, "scores"), "like_neighbouring_layers")


def test_scores_a_tenth_lower_than_those_before_warn_however_often_they_are_checked(bench: Bench) -> None:
    bench.scores(0, 0.5)
    assert evaluated(bench.check(LOWER))[0] == ("not_lower_than_before", "layer_00", True)
    bench.scores(0, 0.35)
    for _ in range(2):
        assert evaluated(bench.check(LOWER))[0] == ("not_lower_than_before", "layer_00", False)
    bench.scores(0, 0.3)
    assert evaluated(bench.check(LOWER))[0] == ("not_lower_than_before", "layer_00", True)


def test_a_layer_is_held_against_those_beside_it_as_soon_as_they_are_there(bench: Bench) -> None:
    for layer, value in enumerate((0.5, 0.1, 0.5)):
        bench.scores(layer, value)

    found = evaluated(bench.check(ALIKE, **{"dagster/partition": "layer_02"}))
    # Layer 2, at the end, is held against nothing; layer 1 now has one on either side.
    assert found == [
        ("like_neighbouring_layers", "layer_02", True), ("like_neighbouring_layers", "layer_01", False),
    ]  # fmt: skip
    assert not bench.shown(ALIKE)["layer_01"]


def test_every_suite_is_of_a_stage_whose_name_is_its_own() -> None:
    assert {name: suite.stage for name, suite in SUITES.items()} == {name: name for name in SUITES}
    for name in SUITES:
        rules = [check.name for check in check_keys(STUDY, name)]
        assert len(set(rules)) == len(rules)


def test_the_command_says_how_a_study_stands_that_was_never_checked(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")  # which the command sets
    path = write_planted_study(tmp_path, base_url="http://x/v1", documents=1)
    variables = {"NEUROSCRIBE_STUDIES": str(path.parent), "DAGSTER_HOME": str(tmp_path / "home")}
    assert main(["planted"], variables) == 0
    assert capsys.readouterr().out == "Checks of study planted: no check has been made\n"
