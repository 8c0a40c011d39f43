"""All measures in the table of scores: what calibration does, what stands beside them, who is chosen."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.calibration import linear, percentile, stretched
from neuroscribe.score.stage import scored_layer
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS, NEURON_RECORDS, SIMULATIONS
from neuroscribe.testing.rows import (
    exemplar_row,
    explanation_row,
    sampled_table,
    sequence_table,
    simulation_row,
    vocabulary_table,
)
from neuroscribe.testing.studies import tiny_study

ONE, OTHER = (1, 1), (2, 1)
TRUTH = {
    ("top", "train", 4): [8.0, 0.0, 0.0],
    ("top", "valid", 1): [0.0, 4.0, 0.0],
    ("random", "valid", 2): [0.0, 2.0, 0.0],
    ("top", "test", 3): [0.0, 0.0, 4.0],
    ("random", "test", 6): [0.0, 0.0, 1.0],
}


def study(candidates: int = 1, **scoring: Any) -> Study:
    explainers = {"token_pairs": {"candidates": candidates}}
    return tiny_study(explainers=explainers, scoring={"bootstrap_samples": 20} | scoring)


def simulated(
    of: str, neuron: Neuron, change: Any, splits: tuple[str, ...] = ("test",)
) -> list[dict[str, Any]]:
    return [
        simulation_row(of, neuron[0], sequence, [float(change(value)) for value in values])
        for (_, split, sequence), values in TRUTH.items()
        if split in splits
    ]


def table(
    own: Study, simulations: list[dict[str, Any]], means: dict[int, float] | None = None
) -> pl.DataFrame:
    records = [
        exemplar_row(neuron, sequence, values, kind=kind, split=split, rank=sequence)
        for neuron in (1, 2)
        for (kind, split, sequence), values in TRUTH.items()
    ]
    names = sorted({row["explanation_id"] for row in simulations})
    by_sequence = means and {sequence: list(means.values()) for sequence in range(7)}
    tables = {
        "explanations": EXPLANATIONS.frame([explanation_row(int(name[1]), int(name[2])) for name in names]),
        "simulations": SIMULATIONS.frame(simulations),
        "neuron_records": NEURON_RECORDS.frame(records),
        "sampled_activations": sampled_table(by_sequence),
        "corpus/sequences": sequence_table([[0, 1, 2]] * 7),
        "corpus/vocabulary": vocabulary_table([b"a", b"b", b"c"]),
    }
    return scored_layer(LayerEvidence(own, 0, tables))


def only(
    scores: pl.DataFrame, measure: str, of: str = "e10", regime: str = "top_and_random"
) -> dict[str, Any]:
    own = scores.filter(explanation_id=of, scorer=f"{measure}_all_at_once", regime=regime, split="test")
    assert len(own) == 1
    return own.row(0, named=True)


def test_without_calibration_ten_stands_for_the_largest_activation() -> None:
    # The largest is 8, so truth x 10 / 8 is exact, and half of it explains half of the deviation
    exact = table(study(), simulated("e10", ONE, lambda value: value * 10 / 8))
    half = table(study(), simulated("e10", ONE, lambda value: value * 5 / 8))
    assert only(exact, "r2")["value"] == only(exact, "deviation")["value"] == 1
    assert only(half, "deviation")["value"] == pytest.approx(0.5)
    assert only(half, "correlation")["value"] == pytest.approx(1)


@pytest.mark.parametrize("calibration", ["linear", "percentile"])
def test_calibration_on_valid_mends_scale_and_offset_and_leaves_the_correlation(calibration: str) -> None:
    own = study(calibration=calibration)
    values = simulated("e10", ONE, lambda value: 3 + value / 2, ("valid", "test"))
    scores = table(own, values)
    # A percentile map knows what it met on valid (0, 2, 4), and is linear between
    assert only(scores, "r2")["value"] == pytest.approx(1)
    assert only(scores, "deviation", regime="random_only")["value"] == pytest.approx(1)
    assert only(scores, "correlation")["value"] == only(table(study(), values), "correlation")["value"]


def test_a_prediction_of_the_opposite_stays_one_under_calibration() -> None:
    scores = table(study(calibration="linear"), simulated("e10", ONE, lambda v: 9 - v, ("valid", "test")))
    assert only(scores, "correlation")["value"] == pytest.approx(-1)
    # The slope is at least 0, so the fit says 1, the mean of valid: errors 1 1 3 1 1 0, squares 13
    assert only(scores, "r2")["value"] == pytest.approx(1 - 13 / (17 - 25 / 6))


def test_without_a_simulation_on_valid_there_is_nothing_to_fit() -> None:
    scores = table(study(calibration="linear"), simulated("e10", ONE, lambda value: value))
    for measure in ("r2", "deviation"):
        row = only(scores, measure)
        assert (row["value"], row["null_reason"]) == (None, "no simulation on valid to fit")
    assert only(scores, "correlation")["value"] == pytest.approx(1)


def test_every_measure_stands_beside_its_own_ceiling_and_control() -> None:
    values = [
        *simulated("e10", ONE, lambda value: value * 10 / 8),
        *simulated("e20", ONE, lambda value: 0.0 if value else 5.0),
        *simulated("e20", OTHER, lambda value: value),
    ]
    scores = table(study(), values, {0: 0.0, 1: 0.0, 2: 3.0})
    # Truth 0 0 4 0 0 1, looked up 0 0 3 0 0 3, control (stretched by 8 / 10) 4 4 0 4 4 0
    assert only(scores, "deviation")["ceiling"] == pytest.approx(1 - 3 / 5)
    assert only(scores, "deviation")["control"] == pytest.approx(1 - 21 / 5)
    assert only(scores, "r2")["ceiling"] == pytest.approx(1 - 5 / (17 - 25 / 6))
    assert only(scores, "r2")["control"] == pytest.approx(1 - (4 * 16 + 17) / (17 - 25 / 6))
    contrast = only(scores, "contrast")
    assert (contrast["ceiling"], contrast["control"]) == (None, None)
    # 0 0 5 0 0 1.25 less 5 5 0 5 5 0
    difference = np.array([-5.0, -5, 5, -5, -5, 1.25])
    truth = np.array([0.0, 0, 4, 0, 0, 1])
    assert contrast["value"] == pytest.approx(np.corrcoef(truth, difference)[0, 1])


def test_without_a_control_there_is_no_contrast() -> None:
    row = only(table(study(), simulated("e10", ONE, lambda value: value)), "contrast")
    assert (row["value"], row["null_reason"]) == (None, "no control to contrast with")


def test_the_correlation_on_valid_chooses_for_all_measures_of_a_simulator() -> None:
    values = [
        *simulated("e10", ONE, lambda value: 5 - value, ("valid",)),
        *simulated("e10", ONE, lambda value: value * 10 / 8, ("test",)),
        *simulated("e11", ONE, lambda value: value / 100, ("valid",)),
        *simulated("e11", ONE, lambda value: 5 - value, ("test",)),
    ]
    scores = table(study(candidates=2), values)
    assert set(scores.filter("chosen")["explanation_id"]) == {"e11"}
    assert scores.filter("chosen")["scorer"].n_unique() == 4


def test_a_score_that_was_stopped_says_on_how_many_sequences_it_rests() -> None:
    short = [simulation_row("e10", 1, 3, [0.0, 0.0, 5.0])]
    row = only(table(study(stop_width=0.5), short), "correlation")
    assert (row["n_sequences"], row["n_tokens"], row["value"]) == (1, 3, pytest.approx(1))
    assert only(table(study(), short), "correlation")["null_reason"] == "not simulated"
    assert only(table(study(stop_width=0.5), short), "correlation", regime="random_only")["value"] is None


def test_maps_from_simulated_values_to_activations() -> None:
    simulated_values, truth = np.array([0.0, 0, 0, 3]), np.array([0.0, 1, 2, 9])
    assert stretched(5.0)(np.array([0.0, 4, 10])).tolist() == [0, 2, 5]
    # Ties at 0 share the mean of 0, 1 and 2
    assert percentile(simulated_values, truth)(np.array([0.0, 1.5, 3])).tolist() == [1, 5, 9]
    assert linear(simulated_values, truth)(np.array([0.0, 3])).tolist() == pytest.approx([1, 9])
    assert linear(-simulated_values, truth)(np.array([0.0, 3])).tolist() == [3, 3]
    assert linear(np.full(4, 2.0), truth)(np.array([0.0, 3])).tolist() == [3, 3]
