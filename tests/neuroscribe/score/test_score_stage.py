from typing import Any

import polars as pl
import pytest

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.score.stage import scored_layer
from neuroscribe.study.dues import scorer_name
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS, NEURON_RECORDS, SCORES, SIMULATIONS
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
    ("top", "valid", 1): [0.0, 4.0, 0.0],
    ("top", "valid", 2): [2.0, 0.0, 0.0],
    ("top", "test", 3): [0.0, 0.0, 4.0],
    ("top", "train", 4): [9.0, 9.0, 9.0],
    ("random", "valid", 5): [0.0, 1.0, 0.0],
    ("random", "test", 6): [0.0, 0.0, 1.0],
}
"""Activations of both neurons on their exemplars."""
OPPOSITE, ORACLE = -1.0, 1.0


def study(candidates: int = 1, **scoring: Any) -> Study:
    explainers = {"token_pairs": {"candidates": candidates}}
    return tiny_study(explainers=explainers, scoring={"bootstrap_samples": 50} | scoring)


def records(truth: dict[tuple[str, str, int], list[float]]) -> pl.DataFrame:
    return NEURON_RECORDS.frame(
        [
            exemplar_row(neuron, sequence, values, kind=kind, split=split, rank=sequence)
            for neuron, _ in (ONE, OTHER)
            for (kind, split, sequence), values in truth.items()
        ]
    )


def explanation(neuron: Neuron, index: int = 0, status: str = "ok") -> dict[str, Any]:
    return explanation_row(neuron[0], index, status=status)


def agreeing(
    explanation_id: str,
    neuron: Neuron,
    sign: float,
    splits: tuple[str, ...] = ("test",),
    truth: dict[tuple[str, str, int], list[float]] = TRUTH,
) -> list[dict[str, Any]]:
    """Simulations that are the truth, or its opposite, on the scale of 0 to 10."""
    return [
        simulation_row(explanation_id, neuron[0], sequence, [5 + sign * value for value in values])
        for (_, split, sequence), values in truth.items()
        if split in splits
    ]


def scores(
    own: Study,
    explanations: list[dict[str, Any]],
    simulations: list[dict[str, Any]],
    *,
    truth: dict[tuple[str, str, int], list[float]] = TRUTH,
    means: dict[int, float] | None = None,
) -> pl.DataFrame:
    """Scores where token 0 stands first, token 1 second, and 2 third in every sequence."""
    by_sequence = means and {sequence: list(means.values()) for sequence in range(7)}
    tables = {
        "explanations": EXPLANATIONS.frame(explanations),
        "simulations": SIMULATIONS.frame(simulations),
        "neuron_records": records(truth),
        "sampled_activations": sampled_table(by_sequence),
        "corpus/sequences": sequence_table([[0, 1, 2]] * 7),
        "corpus/vocabulary": vocabulary_table([b"a", b"b", b"c"]),
    }
    return scored_layer(LayerEvidence(own, 0, tables))


def only(
    table: pl.DataFrame,
    explanation_id: str,
    split: str = "test",
    regime: str = "top_and_random",
    measure: str = "correlation",
) -> dict[str, Any]:
    own = table.filter(
        explanation_id=explanation_id, split=split, regime=regime, scorer=scorer_name("all_at_once", measure)
    )
    assert len(own) == 1
    return own.row(0, named=True)


def test_an_oracle_scores_one_and_an_anti_oracle_minus_one() -> None:
    simulations = [*agreeing("e10", ONE, ORACLE), *agreeing("e20", OTHER, OPPOSITE)]
    table = scores(study(), [explanation(ONE), explanation(OTHER)], simulations)
    assert only(table, "e10")["value"] == pytest.approx(1)
    assert only(table, "e20")["value"] == pytest.approx(-1)
    assert only(table, "e20", regime="random_only")["value"] == pytest.approx(-1)


def test_each_explanation_has_one_row_for_each_scorer_split_and_regime() -> None:
    own = study(candidates=2)
    explanations = [explanation(ONE), explanation(ONE, 1), explanation(OTHER, status="refused")]
    simulations = [row for name in ("e10", "e11") for row in agreeing(name, ONE, ORACLE, ("valid", "test"))]
    table = scores(own, explanations, simulations)
    assert not table.select(SCORES.key).is_duplicated().any()
    assert len(table) == 3 * 2 * 2 * 4
    assert table["scorer"].unique(maintain_order=True).to_list() == [
        f"{measure}_all_at_once" for measure in ("correlation", "r2", "deviation", "contrast")
    ]
    assert len(scores(study(), [explanation(ONE)], agreeing("e10", ONE, ORACLE))) == 2 * 4


def test_the_random_regime_leaves_the_top_sequences_out() -> None:
    table = scores(study(), [explanation(ONE)], agreeing("e10", ONE, ORACLE))
    both, random = only(table, "e10"), only(table, "e10", regime="random_only")
    assert (both["n_sequences"], both["n_tokens"]) == (2, 6)
    assert (random["n_sequences"], random["n_tokens"]) == (1, 3)
    assert both["ci_low"] is not None
    assert random["ci_low"] is None


def test_a_score_stands_beside_its_ceiling_and_its_control() -> None:
    simulations = [
        *agreeing("e10", ONE, ORACLE),
        *agreeing("e20", ONE, OPPOSITE),
        *agreeing("e20", OTHER, ORACLE),
    ]
    table = scores(
        study(), [explanation(ONE), explanation(OTHER)], simulations, means={0: 0.0, 1: 0.0, 2: 3.0}
    )
    one, other = only(table, "e10"), only(table, "e20")
    # Truth 0 0 4 0 0 1, looked up 0 0 3 0 0 3: (15 - 5 x 6 / 6) / sqrt((17 - 25 / 6) x (18 - 36 / 6))
    assert one["ceiling"] == pytest.approx(10 / (77 / 6 * 12) ** 0.5)
    assert one["control"] == pytest.approx(-1)
    assert (other["ceiling"], other["control"]) == (None, None)


def test_a_constant_truth_is_null_with_its_reason() -> None:
    silent = TRUTH | {("random", "test", 6): [0.0, 0.0, 0.0]}
    table = scores(study(), [explanation(ONE)], agreeing("e10", ONE, ORACLE), truth=silent)
    row = only(table, "e10", regime="random_only")
    assert (row["value"], row["null_reason"]) == (None, "constant truth")
    assert only(table, "e10")["null_reason"] is None


def test_a_constant_simulation_is_null_with_its_reason() -> None:
    simulations = [simulation_row("e10", 1, sequence, [2.0, 2.0, 2.0]) for sequence in (3, 6)]
    assert (
        only(scores(study(), [explanation(ONE)], simulations), "e10")["null_reason"] == "constant simulation"
    )


def test_an_unreadable_simulation_is_null_with_its_reason() -> None:
    simulations = [
        simulation_row("e10", 1, 3, [1.0, float("nan"), 2.0]),
        simulation_row("e10", 1, 6, [0.0, 0.0, 1.0]),
    ]
    row = only(scores(study(), [explanation(ONE)], simulations), "e10")
    assert (row["value"], row["null_reason"]) == (None, "no readable value at 1 of 6 tokens")


def test_what_was_not_explained_or_not_simulated_is_null_with_its_reason() -> None:
    table = scores(study(), [explanation(ONE), explanation(OTHER, status="refused")], [])
    assert only(table, "e10")["null_reason"] == "not simulated"
    assert only(table, "e20")["null_reason"] == "explanation refused"
    assert table["value"].null_count() == len(table)


def test_a_neuron_without_random_exemplars_is_null_with_its_reason() -> None:
    tops = {key: values for key, values in TRUTH.items() if key[0] == "top"}
    table = scores(study(), [explanation(ONE)], agreeing("e10", ONE, ORACLE), truth=tops)
    row = only(table, "e10", regime="random_only")
    assert (row["n_sequences"], row["n_tokens"], row["null_reason"]) == (0, 0, "no sequences to score on")


def test_no_more_sequences_are_scored_than_asked_for() -> None:
    more = TRUTH | {("top", "test", 0): [1.0, 0.0, 0.0]}
    simulations = agreeing("e10", ONE, ORACLE, truth=more)
    table = scores(study(sequences_per_split=1), [explanation(ONE)], simulations, truth=more)
    assert only(table, "e10")["n_sequences"] == 2


def chosen(table: pl.DataFrame) -> list[str]:
    own = table.filter("chosen")
    assert own.group_by("explanation_id").len()["len"].to_list() == [4 * 4]
    return own["explanation_id"].unique().to_list()


def test_the_candidate_that_is_best_on_valid_is_chosen_whatever_it_scores_on_test() -> None:
    explanations = [explanation(ONE, 0), explanation(ONE, 1), explanation(ONE, 2)]
    simulations = [
        *agreeing("e10", ONE, OPPOSITE, ("valid",)), *agreeing("e10", ONE, ORACLE, ("test",)),
        *agreeing("e11", ONE, ORACLE, ("valid",)), *agreeing("e11", ONE, OPPOSITE, ("test",)),
        *agreeing("e12", ONE, OPPOSITE, ("valid",)), *agreeing("e12", ONE, ORACLE, ("test",)),
    ]  # fmt: skip
    assert chosen(scores(study(3), explanations, simulations)) == ["e11"]


def test_of_equal_candidates_the_first_is_chosen() -> None:
    explanations = [explanation(ONE, 1), explanation(ONE, 0)]
    simulations = [row for name in ("e10", "e11") for row in agreeing(name, ONE, ORACLE, ("valid", "test"))]
    assert chosen(scores(study(2), explanations, simulations)) == ["e10"]


def test_a_candidate_with_a_score_goes_before_one_without() -> None:
    explanations = [explanation(ONE, 0, "refused"), explanation(ONE, 1)]
    simulations = agreeing("e11", ONE, OPPOSITE, ("valid", "test"))
    assert chosen(scores(study(2), explanations, simulations)) == ["e11"]


def test_without_any_score_a_candidate_with_a_text_is_chosen() -> None:
    explanations = [explanation(ONE, 0, "refused"), explanation(ONE, 1)]
    assert chosen(scores(study(2), explanations, [])) == ["e11"]


def test_an_only_candidate_is_chosen() -> None:
    table = scores(study(), [explanation(ONE), explanation(OTHER)], agreeing("e10", ONE, ORACLE))
    assert table["chosen"].all()


def test_no_explanations_give_no_scores() -> None:
    assert len(scores(study(), [], [])) == 0
