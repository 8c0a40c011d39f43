"""Scores over the corpus from draws: weighted by hand on a layer that is known everywhere."""

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.tables.records import NEURON_RECORDS
from tests.neuroscribe.score.known_layer import (
    DOCUMENTS,
    SEQUENCES,
    TOKENS,
    Layer,
    exemplars,
    explained,
    known_study,
    only,
    pearson,
    read,
    truth,
    unseen,
)

OWN = explained(1, "1 2.0")
LAYER = Layer([OWN])


def drawn(simulations: pl.DataFrame, of: str = "e10", split: str = "test") -> pl.DataFrame:
    """The draws with their weights: the size of a stratum over the number of its draws."""
    rows = simulations.filter(explanation_id=of, split=split).drop_nulls("stratum")
    return rows.with_columns(weight=pl.col("stratum_size") / pl.len().over("stratum"))


def weighted(rows: pl.DataFrame, neuron: int = 1) -> float:
    simulated = np.array(rows["simulated"].to_list())
    return pearson(truth(neuron)[rows["sequence_id"].to_list()], simulated, rows["weight"].to_numpy())


def spoiled(simulations: pl.DataFrame, sequences: list[int]) -> pl.DataFrame:
    """One value of some sequences cannot be read."""
    nan = pl.lit([float("nan"), 0.0, 0.0, 0.0], dtype=simulations.schema["simulated"])
    bad = pl.col("sequence_id").is_in(sequences)
    return simulations.with_columns(simulated=pl.when(bad).then(nan).otherwise("simulated"))


def test_draws_stand_for_all_sequences_that_the_explainer_did_not_see() -> None:
    rows = drawn(LAYER.simulated())
    strata = rows.group_by("stratum").agg(pl.len(), pl.col("stratum_size").first())
    population = unseen(OWN)
    top = round(20 * len(population) / SEQUENCES)
    tenth, half = int(np.ceil(len(population) / 10)), int(np.ceil(len(population) / 2))
    assert {row[0]: row[1:] for row in strata.rows()} == {
        "top": (5, top),
        "high": (6, tenth - top),
        "middle": (5, half - max(top, tenth)),
        "low": (4, len(population) - half),
    }
    assert set(rows["sequence_id"]) <= set(population.tolist())
    assert rows["weight"].sum() == pytest.approx(len(population))


def test_a_score_is_pearsons_with_the_weights_of_the_draws() -> None:
    simulations = LAYER.simulated()
    row = only(LAYER.scores(simulations), "e10")
    assert row["value"] == pytest.approx(weighted(drawn(simulations)))
    assert (row["n_sequences"], row["n_tokens"], row["n_unreadable"]) == (20, 80, 0)
    population = unseen(OWN)
    whole = pearson(truth(1)[population], np.array([read("1 2.0", own) for own in population]))
    assert row["ci_low"] < whole < row["ci_high"]
    assert 0.02 < row["ci_high"] - row["ci_low"] < 0.9


def test_the_measures_of_firing_are_weighted_alike() -> None:
    simulations = LAYER.simulated()
    rows, scores = drawn(simulations), LAYER.scores(simulations)
    # A neuron fires from 35 hundredths of the smallest peak of its top exemplars, a simulation from 5 of 10.
    limit = 0.35 * min(row["peak"] for row in exemplars(1) if row["kind"] == "top")
    fires = truth(1)[rows["sequence_id"].to_list()] >= limit
    says = np.array(rows["simulated"].to_list()) >= 5
    w = rows["weight"].to_numpy()[:, None]
    both, one, other = ((w * each).sum() for each in (fires & says, fires, says))
    assert 0 < both < one
    assert only(scores, "e10", "f1_all_at_once")["value"] == pytest.approx(2 * both / (one + other))
    assert only(scores, "e10", "iou_all_at_once")["value"] == pytest.approx(both / (one + other - both))


def test_an_unreadable_draw_leaves_its_stratum_to_the_others() -> None:
    simulations = LAYER.simulated()
    low = drawn(simulations).filter(stratum="low")["sequence_id"].to_list()
    row = only(LAYER.scores(spoiled(simulations, low[:1])), "e10")
    rest = drawn(simulations.filter(pl.col("sequence_id") != low[0]))
    assert len(low) == 4
    assert row["value"] == pytest.approx(weighted(rest))
    assert (row["n_sequences"], row["n_tokens"], row["n_unreadable"]) == (19, 76, 1)


@pytest.mark.parametrize("stratum", ["low", None])
def test_a_stratum_of_which_nothing_can_be_read_or_too_few_draws_give_no_score(stratum: str | None) -> None:
    simulations = LAYER.simulated()
    rows = drawn(simulations)
    lost = rows.filter(stratum=stratum) if stratum else rows[:11]
    row = only(LAYER.scores(spoiled(simulations, lost["sequence_id"].to_list())), "e10")
    assert (row["value"], row["ci_low"], row["p"]) == (None, None, None)
    assert row["null_reason"] == f"no readable value at {len(lost)} of 80 tokens"
    assert row["n_unreadable"] == len(lost)


def test_the_ceiling_is_what_other_documents_say_of_the_same_tokens_over_the_whole_population() -> None:
    population, values = unseen(OWN), truth(1)
    looked_up = np.array([[_elsewhere(token, own) for token in TOKENS[own]] for own in range(SEQUENCES)])
    scores = LAYER.scores()
    assert only(scores, "e10")["ceiling"] == pytest.approx(pearson(values[population], looked_up[population]))
    shown = paper()
    row = only(scores, "e10", regime="top_and_random")
    assert row["ceiling"] == pytest.approx(pearson(values[shown], looked_up[shown]))


def _elsewhere(token: int, sequence: int) -> float:
    """The mean of neuron 1 on a token in other documents, or on all tokens where none has it."""
    others = [own for own in range(SEQUENCES) if DOCUMENTS[own] != DOCUMENTS[sequence]]
    known = [truth(1)[own][place] for own in others for place in range(4) if TOKENS[own][place] == token]
    return float(np.mean(known)) if known else float(truth(1)[others].mean())


def paper(neuron: int = 1, kinds: tuple[str, ...] = ("top", "random"), split: str = "test") -> list[int]:
    """The two first exemplars of each kind."""
    return [
        row["sequence_id"]
        for kind in kinds
        for row in [own for own in exemplars(neuron) if (own["kind"], own["split"]) == (kind, split)][:2]
    ]


def test_the_papers_regimes_are_plain_correlations_without_an_interval() -> None:
    scores = LAYER.scores()
    for regime, kinds in (("top_and_random", ("top", "random")), ("random_only", ("random",))):
        row, ids = only(scores, "e10", regime=regime), paper(kinds=kinds)
        plain = np.corrcoef(truth(1)[ids].ravel(), np.array([read("1 2.0", own) for own in ids]).ravel())
        assert row["value"] == pytest.approx(plain[0, 1])
        assert (row["ci_low"], row["ci_high"], row["n_sequences"]) == (None, None, len(ids))


def test_measures_and_regimes_of_an_explanation() -> None:
    scores = LAYER.scores()
    assert scores.select("scorer", "regime").rows() == [
        *(("correlation_all_at_once", regime) for regime in ("corpus", "top_and_random", "random_only")),
        *((f"{measure}_all_at_once", "corpus") for measure in ("cosine", "f1", "iou", "auprc")),
    ]
    assert scores["chosen"].all()


def candidates(**given: Any) -> Layer:
    """The first is the better one on `test`, which does not count, and in the paper's regimes."""
    return Layer(
        [explained(1, "1 9.0"), explained(1, "1 0.0", 1), explained(1, "-1 0.0", 2)],
        known_study(explainers={"token_pairs": {"candidates": 3}}, **given),
    )


def test_the_candidate_with_the_best_corpus_score_on_valid_is_chosen_by_every_measure() -> None:
    layer = candidates()
    simulations = layer.simulated()
    # On `test` the best is made the worst.
    opposite = pl.col("simulated").list.eval(-pl.element())
    turned = pl.when(explanation_id="e11", split="test").then(opposite).otherwise("simulated")
    scores = layer.scores(simulations.with_columns(simulated=turned))
    assert only(scores, "e11", split="valid")["value"] == pytest.approx(1)
    assert only(scores, "e11")["value"] == pytest.approx(-1)
    assert set(scores.filter("chosen")["explanation_id"]) == {"e11"}
    assert scores.filter("chosen")["scorer"].n_unique() == 5


def test_candidates_are_chosen_and_reported_on_disjoint_halves_of_the_documents() -> None:
    layer = candidates()
    simulations = layer.simulated()
    evidence = layer.evidence(simulations=simulations)
    valid, test = (
        {DOCUMENTS[own] for own in evidence.population(OWN, split).sequence_ids}
        for split in ("valid", "test")
    )
    assert not valid & test
    assert valid | test == {DOCUMENTS[own] for own in unseen(OWN)}
    assert min(len(valid), len(test)) > len(valid | test) / 3
    for split, documents in (("valid", valid), ("test", test)):
        rows = simulations.filter(split=split, neuron=1)
        assert {DOCUMENTS[own] for own in rows["sequence_id"]} <= documents
        assert drawn(simulations, split=split)["weight"].sum() == pytest.approx(
            len([own for own in unseen(OWN) if DOCUMENTS[own] in documents])
        )


def test_what_is_explained_again_gets_a_correlation_and_is_never_chosen_nor_held_against_others() -> None:
    shown = [row["sequence_id"] for row in exemplars(1) if (row["kind"], row["split"]) == ("top", "valid")]
    again = [
        explained(
            1, f"1 {draw}.0", explanation_id=f"again{draw}", draw=draw, sequence_ids=shown[draw - 1 :: 2]
        )
        for draw in (1, 2)
    ]
    layer = Layer([OWN, *again, explained(2, "2 1.0")])
    simulations = layer.simulated()
    scores = layer.scores(simulations)
    for row in again:
        found = scores.filter(explanation_id=row["explanation_id"])
        assert found.select("scorer", "regime", "chosen").rows() == [
            ("correlation_all_at_once", "corpus", False)
        ]
        own = drawn(simulations, row["explanation_id"])
        assert found["value"].item() == pytest.approx(weighted(own))
        assert own["weight"].sum() == pytest.approx(len(unseen(row)))
        assert found.select("n_controls", "p", "control", "ceiling").row(0) == (0, None, None, None)
    assert Counter(simulations.filter(neuron=2)["explanation_id"]).keys() == {"e10", "e20"}


def test_what_cannot_be_scored_says_why() -> None:
    layer = Layer([explained(1, "1 0.0", status="refused") | {"text": None}, explained(2, "2 0.0")])
    scores = layer.scores(layer.simulated().clear())
    reasons = scores.group_by("explanation_id", maintain_order=True).agg(pl.col("null_reason").unique())
    assert reasons.rows() == [("e10", ["explanation refused"]), ("e20", ["not simulated"])]
    assert scores["value"].null_count() == len(scores)


def test_no_explanations_give_no_scores() -> None:
    assert len(Layer([]).scores()) == 0


def test_a_side_without_any_activation_fires_nowhere_and_has_no_f1() -> None:
    silent = [{**row, "activations": [0.0] * 4, "peak": 0.0} for row in exemplars(1)]
    layer = Layer([explained(1, "1 0.0")], tables={"neuron_records": NEURON_RECORDS.frame(silent)})
    row = only(layer.scores(), "e10", "f1_all_at_once")

    assert (row["value"], row["null_reason"]) == (None, "the neuron fires at no token")
