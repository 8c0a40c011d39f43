from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.score.judgements import Answers, Judgements, judged
from neuroscribe.study.dues import Due
from neuroscribe.study.spec import Study
from neuroscribe.tables.judged import JUDGEMENTS
from neuroscribe.tables.records import EXPLANATIONS
from neuroscribe.testing.rows import (
    explanation_row,
    judgement_row,
    sampled_table,
    sequence_table,
    vocabulary_table,
)
from neuroscribe.testing.studies import tiny_study

ACCURACY = Due("token_pairs", "detection_balanced_accuracy", "balanced_accuracy", "detection", ("a",), "x")
AUC = Due("token_pairs", "detection_auc", "auc", "detection", ("a",), "x")


def study(**detection: Any) -> Study:
    return tiny_study(
        simulators={"embedding": {"explainers": ["token_pairs"]}},
        scorers={"detection": {"explainers": ["token_pairs"], **detection}},
    )


def rows(
    due: Due, asked: list[dict[str, Any]], means: dict[int, float] | None = None
) -> list[dict[str, Any]]:
    explanations = [
        explanation_row(1, explanation_id="e1"),
        explanation_row(2, explanation_id="e2", status="refused"),
        explanation_row(3, explanation_id="e3"),
    ]
    by_token = [(means or {}).get(token, 0.0) for token in range(8)]
    tables = {
        "explanations": EXPLANATIONS.frame(explanations),
        "judgements": JUDGEMENTS.frame(asked),
        "sampled_activations": sampled_table(means and dict.fromkeys((0, 1), by_token)),
        "corpus/sequences": sequence_table([range(8), range(8)]),
        "corpus/vocabulary": vocabulary_table([bytes([97 + token]) for token in range(8)]),
    }
    return Judgements(LayerEvidence(study(), 0, tables)).rows(due)


def answers(labels: list[int], values: list[float]) -> Answers:
    own = np.array(labels, dtype=bool)
    return Answers(own, np.array(values) > 0.5, np.array(values), np.arange(len(own)), len(labels))


def test_a_balanced_accuracy_and_an_auc_worked_by_hand() -> None:
    # Firing .9 .4, silent .6 .1 .2: one of two and two of three told rightly; 5 of 6 pairs in order
    own = answers([1, 1, 0, 0, 0], [0.9, 0.4, 0.6, 0.1, 0.2])
    assert judged("balanced_accuracy", own).value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert judged("auc", own).value == pytest.approx(5 / 6)


def test_equal_probabilities_count_half_and_say_nothing() -> None:
    assert judged("auc", answers([1, 0, 0], [0.5, 0.5, 0.5])).value == 0.5


def test_ten_right_answers_about_five_sequences_say_less_than_about_ten() -> None:
    paired, single = (
        rows(ACCURACY, [judgement_row(n, n < 5, n < 5, sequence_id=n % sequences) for n in range(10)])[0]
        for sequences in (5, 10)
    )
    assert paired["value"] == single["value"] == paired["ci_high"] == 1.0
    assert 0.5 < paired["ci_low"] < single["ci_low"] - 0.1 < 0.6


def test_an_oracle_scores_one_its_opposite_nothing_and_one_who_always_agrees_half() -> None:
    for value, firing, silent in ((1.0, 0.9, 0.1), (0.0, 0.1, 0.9), (0.5, 0.9, 0.9)):
        own = answers([1, 1, 0, 0, 0], [firing, firing, silent, silent, silent])
        assert judged("balanced_accuracy", own).value == value
        assert judged("auc", own).value == value


def test_unreadable_answers_are_counted_and_left_out() -> None:
    asked = [judgement_row(0, True, True), judgement_row(1, False, None), judgement_row(2, False, True)]
    row = rows(ACCURACY, asked)[0]
    assert (row["value"], row["n_sequences"], row["n_tokens"], row["n_unreadable"]) == (0.5, 2, 2, 1)


def test_with_fewer_than_half_of_the_answers_readable_there_is_no_score() -> None:
    asked = [judgement_row(0, True, True), judgement_row(1, False, None), judgement_row(2, False, None)]
    row = rows(ACCURACY, asked)[0]
    assert (row["value"], row["null_reason"]) == (None, "only 1 of 3 answers can be read")
    assert row["n_unreadable"] == 2


def test_without_answers_of_both_kinds_there_is_no_score() -> None:
    reasons = [
        rows(ACCURACY, asked)[0]["null_reason"]
        for asked in ([], [judgement_row(0, True, True)], [judgement_row(0, False, True)])
    ]
    assert reasons == ["nothing to judge", "no silent excerpt was judged", "no firing excerpt was judged"]


def test_plain_answers_have_no_auc_and_say_why() -> None:
    asked = [judgement_row(0, True, True), judgement_row(1, False, False)]
    row = rows(AUC, asked)[0]
    assert (row["value"], row["null_reason"]) == (None, "the judge gives no probabilities")
    assert rows(ACCURACY, asked)[0]["value"] == 1.0


def test_a_score_stands_beside_the_control_and_the_token_lookup_table() -> None:
    own = [
        judgement_row(0, True, True, 0.9),
        judgement_row(1, False, False, 0.2),
        judgement_row(2, False, True, 0.6),
    ]
    control = [
        judgement_row(0, True, False, 0.1, explanation_id="e3"),
        judgement_row(1, False, True, 0.8, explanation_id="e3"),
        judgement_row(2, False, True, 0.7, explanation_id="e3"),
    ]  # fmt: skip
    first, refused, third = rows(AUC, [*own, *control], {0: 1.0, 1: 2.0, 2: 0.0})
    assert (first["value"], first["control"], first["ceiling"]) == (1.0, 0.0, 0.5)
    assert refused["null_reason"] == "explanation refused"
    assert (third["explanation_id"], third["value"]) == ("e3", None)
    accuracy = rows(ACCURACY, [*own, *control])[0]
    assert (accuracy["value"], accuracy["control"], accuracy["ceiling"]) == (0.75, 0.0, None)


def test_the_table_reads_the_marked_tokens_where_tokens_are_marked() -> None:
    asked = [
        judgement_row(0, True, True, 0.9, start=0, stop=4, marked=[0]),
        judgement_row(1, False, False, 0.2, start=0, stop=4, marked=[2, 3]),
    ]
    assert rows(AUC, asked, {0: 5.0, 1: 9.0, 2: 1.0, 3: 1.0})[0]["ceiling"] == 1.0


def test_every_row_fits_the_table_of_scores() -> None:
    from neuroscribe.tables.records import SCORES

    asked = [judgement_row(0, True, True, 0.9), judgement_row(1, False, False, 0.2)]
    assert len(SCORES.frame(rows(AUC, asked))) == 3
    assert SCORES.frame(rows(AUC, asked))["value"].dtype == pl.Float64
