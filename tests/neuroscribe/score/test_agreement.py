"""What stands in the table of scores: calibration, choice among candidates, reasons for no score."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.tables.records import SCORES
from tests.neuroscribe.score.known_layer import (
    DOCUMENTS,
    TOKENS,
    Layer,
    base_tables,
    exemplars,
    explained,
    known_study,
    only,
    read,
    truth,
)

ONE, OPPOSITE = explained(1, "1 0.0"), explained(1, "-1 0.0")
SIZES = ("r2_all_at_once", "deviation_all_at_once")


def shown(split: str, neuron: int = 1) -> list[int]:
    """The paper's exemplars of a split: two of each kind."""
    own = [row for row in exemplars(neuron) if row["split"] == split]
    parts = [[row["sequence_id"] for row in own if row["kind"] == kind][:2] for kind in ("top", "random")]
    return parts[0] + parts[1]


def calibrated(*rows: dict[str, Any], kind: str = "linear") -> Layer:
    return Layer(rows, known_study(scoring={"calibration": kind}))


@pytest.mark.parametrize("kind", ["linear", "percentile"])
def test_calibration_on_valid_mends_the_scale_and_leaves_the_correlation(kind: str) -> None:
    scores = calibrated(ONE, kind=kind).scores()
    # A percentile map knows the values that it met on valid alone, a line all.
    about = 1e-6 if kind == "linear" else 0.15
    for scorer in SIZES:
        assert only(scores, "e10", scorer, regime="top_and_random")["value"] == pytest.approx(1, abs=about)
    assert only(scores, "e10")["value"] == pytest.approx(1)


def test_a_prediction_of_the_opposite_stays_one_under_calibration() -> None:
    scores = calibrated(OPPOSITE).scores()
    assert only(scores, "e10")["value"] == pytest.approx(-1)
    # The slope is at least 0, so that the line says the mean of valid everywhere.
    own, mean = truth(1)[shown("test")], truth(1)[shown("valid")].mean()
    row = only(scores, "e10", SIZES[0], regime="top_and_random")
    assert row["value"] == pytest.approx(1 - ((own - mean) ** 2).sum() / ((own - own.mean()) ** 2).sum())


def test_sizes_stand_beside_calibrated_controls_and_the_ceiling_in_activations() -> None:
    rows = [explained(1, "1 2.0"), explained(2, "2 0.0")]
    layer = calibrated(*rows)
    scores, ids = layer.scores(), shown("test")
    fit = np.polyfit(
        np.array([read("1 2.0", own) for own in shown("valid")]).ravel(), truth(1)[shown("valid")].ravel(), 1
    )
    # The control is read on one of the two top exemplars, and on the random ones.
    read_on = [ids[0], *ids[2:]]
    control = np.array([np.polyval(fit, read("2 0.0", own)) for own in read_on])
    own = np.array([np.polyval(fit, read("1 2.0", own)) for own in ids])
    row = only(scores, "e10", SIZES[1], regime="top_and_random")
    assert row["value"] == pytest.approx(_explained(own, ids))
    assert row["control"] == pytest.approx(_explained(control, read_on))
    known = layer.evidence().looked_up((1, 1), ids)
    assert known is not None
    assert row["ceiling"] == pytest.approx(_explained(known, ids))
    assert (row["ci_low"], row["n_controls"], row["p"] is not None) == (None, 1, True)


def _explained(predicted: np.ndarray, ids: list[int]) -> float:
    return float(1 - np.abs(truth(1)[ids] - predicted).sum() / np.abs(truth(1)[ids]).sum())


def test_sizes_are_of_the_papers_regimes_and_only_where_values_were_fitted() -> None:
    found = calibrated(ONE).scores().filter(pl.col("scorer").is_in(SIZES))
    assert found["regime"].unique(maintain_order=True).to_list() == ["top_and_random", "random_only"]
    assert not set(SIZES) & set(Layer([ONE]).scores()["scorer"])


def test_without_a_readable_value_on_valid_there_is_nothing_to_fit() -> None:
    layer = calibrated(ONE)
    rows = layer.simulated()
    nan = pl.lit([float("nan")] * 4, dtype=rows.schema["simulated"])
    on_valid = pl.col("sequence_id").is_in(shown("valid"))
    scores = layer.scores(rows.with_columns(simulated=pl.when(on_valid).then(nan).otherwise("simulated")))
    for scorer in SIZES:
        row = only(scores, "e10", scorer, regime="top_and_random")
        assert (row["value"], row["null_reason"]) == (None, "no simulation on valid to fit")
    assert only(scores, "e10", regime="top_and_random")["value"] == pytest.approx(1)


def chosen(*rows: dict[str, Any], without: str = "") -> set[str]:
    layer = Layer(rows, known_study(explainers={"token_pairs": {"candidates": len(rows)}}))
    simulations = layer.simulated()
    found = layer.scores(simulations.filter(pl.col("explanation_id") != without)).filter("chosen")
    assert found["scorer"].n_unique() == 5
    assert set(found["split"]) == {"valid", "test"}
    return set(found["explanation_id"])


def test_of_equal_candidates_the_first_is_chosen() -> None:
    assert chosen(explained(1, "1 0.0", 1), explained(1, "1 0.0", 0)) == {"e10"}


def test_a_candidate_with_a_score_goes_before_one_without() -> None:
    assert chosen(ONE, explained(1, "-1 0.0", 1), without="e10") == {"e11"}


def test_without_any_score_a_candidate_with_a_text_is_chosen() -> None:
    refused = explained(1, "", status="refused") | {"text": None}
    assert chosen(refused, explained(1, "1 0.0", 1), without="e11") == {"e11"}


def test_a_candidate_that_is_better_in_the_papers_regimes_alone_is_not_chosen() -> None:
    layer = Layer(
        [explained(1, "1 3.0"), explained(1, "1 0.0", 1)],
        known_study(explainers={"token_pairs": {"candidates": 2}}),
    )
    rows = layer.simulated()
    # The second is silent on the exemplars of valid, which are few of what the corpus has.
    silent = pl.col("sequence_id").is_in(shown("valid")) & (pl.col("explanation_id") == "e11")
    nothing = pl.lit([0.0, 0.0, 0.0, 0.1], dtype=rows.schema["simulated"])
    rows = rows.with_columns(simulated=pl.when(silent).then(nothing).otherwise("simulated"))
    scores = layer.scores(rows)
    valid = {
        (name, regime): only(scores, name, split="valid", regime=regime)["value"]
        for name in ("e10", "e11")
        for regime in ("corpus", "top_and_random")
    }
    assert valid["e10", "top_and_random"] > valid["e11", "top_and_random"]
    assert valid["e10", "corpus"] < valid["e11", "corpus"]
    assert set(scores.filter("chosen")["explanation_id"]) == {"e11"}


def silenced(neuron: int = 1) -> dict[str, pl.DataFrame]:
    """Tables in which a neuron is 0 everywhere."""
    is_own, nothing = pl.col("neuron") == neuron, pl.lit([0.0] * 4, dtype=pl.List(pl.Float32))
    changed = pl.when(is_own).then(nothing).otherwise("activations").alias("activations")
    tables = base_tables(tuple(range(13)))
    return {name: tables[name].with_columns(changed) for name in ("sampled_activations", "neuron_records")}


def test_a_constant_truth_is_null_with_its_reason_in_every_regime() -> None:
    layer = Layer([ONE], tables=silenced())
    scores = layer.scores()
    correlations = scores.filter(scorer="correlation_all_at_once")
    assert correlations["null_reason"].to_list() == ["constant truth"] * 3
    assert only(scores, "e10", "f1_all_at_once")["null_reason"] == "the neuron fires at no token"


def test_a_constant_simulation_is_null_with_its_reason() -> None:
    layer = Layer([ONE])
    flat = pl.lit([2.0] * 4, dtype=pl.List(pl.Float32))
    scores = layer.scores(layer.simulated().with_columns(simulated=flat))
    assert (
        scores.filter(scorer="correlation_all_at_once")["null_reason"].to_list()
        == ["constant simulation"] * 3
    )


def test_an_unreadable_value_leaves_the_papers_regimes_without_a_score() -> None:
    layer, last = Layer([ONE]), shown("test")[-1]
    rows = layer.simulated()
    nan = pl.lit([1.0, float("nan"), 2.0, 0.0], dtype=rows.schema["simulated"])
    changed = pl.when(pl.col("sequence_id") == last).then(nan).otherwise("simulated")
    scores = layer.scores(rows.with_columns(simulated=changed))
    reasons = {
        regime: only(scores, "e10", regime=regime)["null_reason"]
        for regime in ("top_and_random", "random_only")
    }
    assert reasons == {
        "top_and_random": "no readable value at 1 of 16 tokens",
        "random_only": "no readable value at 1 of 8 tokens",
    }


def test_a_neuron_without_random_exemplars_is_null_with_its_reason_in_their_regime() -> None:
    records = base_tables(tuple(range(13)))["neuron_records"].filter(kind="top")
    layer = Layer([ONE], tables={"neuron_records": records})
    row = only(layer.scores(), "e10", regime="random_only")
    assert (row["value"], row["n_sequences"], row["null_reason"]) == (None, 0, "no sequences to score on")


def test_a_neuron_that_an_explainer_has_seen_everywhere_has_no_population_to_be_scored_on() -> None:
    every = explained(1, "1 0.0", sequence_ids=[2 * document for document in set(DOCUMENTS)])
    row = only(Layer([every]).scores(), "e10")
    assert (row["value"], row["n_sequences"], row["null_reason"]) == (None, 0, "no sequences to score on")


def test_every_row_fits_the_table_and_there_is_one_for_each_key() -> None:
    study = known_study(explainers={"token_pairs": {"candidates": 2}}, scoring={"calibration": "linear"})
    refused = explained(2, "", status="refused") | {"text": None}
    scores = SCORES.checked(Layer([ONE, explained(1, "-1 0.0", 1), refused], study).scores())
    # Five measures over the corpus, one in both of the paper's regimes, and two sizes in these.
    assert len(scores) == 3 * 2 * (5 + 2 + 2 * 2)
    assert not scores.select(SCORES.key).is_duplicated().any()


def test_both_sides_of_a_neuron_are_scored_each_on_its_own() -> None:
    study = known_study(capture={"polarities": "both"})
    other = explained(1, "-1 0.0", polarity=-1, explanation_id="minus")
    layer = Layer([ONE, other], study)
    evidence = layer.evidence()
    assert (evidence.truth((1, 1)).values == truth(1).clip(min=0)).all()
    assert (evidence.truth((1, -1)).values == 0).all()
    assert len(TOKENS) == len(evidence.truth((1, -1)).values)
    scores = layer.scores()
    assert only(scores, "e10")["value"] == pytest.approx(1)
    assert only(scores, "minus")["null_reason"] == "constant truth"
