"""What is up to date of a study, by its files and by Dagster."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.stage import key
from dagster_project.environments import ROOT
from dagster_project.freshness import Freshness
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import layer_key
from neuroscribe.study.stages import STAGES, provenance, stages_of
from neuroscribe.testing.rows import sequence_table
from tests.layers_done import Bench

STUDY = read_study(ROOT / "studies" / "embedded.toml")
CAPTURED, SAMPLED, EXPLAINED = (
    tuple(name for name in stages_of(STUDY) if STAGES[name].per_layer and STAGES[name].phase == phase)
    for phase in ("capture", "sample", "explain")
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with dg.instance_for_test() as instance:
        yield Bench(STUDY, tmp_path / "store", instance)


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


def test_a_study_that_lacks_only_the_text_by_an_encoder_names_that(bench: Bench) -> None:
    bench.done(CAPTURED, list(range(STUDY.subject.layers)))
    (Path(bench.environment.store) / "embedded/encoded_corpus.parquet").unlink()

    assert bench.freshness.stale_texts() == ["encoded_corpus"]
    assert bench.freshness.out_of_date("encoded_corpus") == {None}
    assert bench.freshness.out_of_date("corpus") == set()
