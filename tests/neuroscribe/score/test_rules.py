from collections.abc import Sequence
from typing import Any

import polars as pl

from neuroscribe.evidence.sample import read_neurons
from neuroscribe.kinds import KnownStudy
from neuroscribe.measures.agreement import OF_THE_NEURON
from neuroscribe.ports.checks import Rule, Verdict
from neuroscribe.score.rules import coverage, rules_for, verdicts
from neuroscribe.study.dues import REGIMES
from neuroscribe.study.scoring import AGREEMENTS, OF_FIRING
from neuroscribe.tables.records import EXPLANATIONS, SCORES
from neuroscribe.testing.rows import explanation_row, row
from neuroscribe.testing.studies import tiny_study

STUDY = tiny_study(
    subject={"layers": 2, "neurons_per_layer": 4},
    explainers={"token_pairs": {}, "token_list": {}},
    simulators={
        "all_at_once": {"explainers": ["token_pairs"]},
        "embedding": {"explainers": ["token_pairs", "token_list"]},
    },
    scoring={"max_unscored_share": 0.25},
)


def explanation(explanation_id: str, neuron: int, explainer: str, status: str = "ok") -> dict[str, Any]:
    return explanation_row(neuron, explanation_id=explanation_id, explainer=explainer, status=status)


def score(explanation_id: str, neuron: int, scorer: str, regime: str, split: str = "test") -> dict[str, Any]:
    return row(
        SCORES,
        explanation_id=explanation_id,
        neuron=neuron,
        scorer=scorer,
        split=split,
        regime=regime,
        value=0.5,
        n_sequences=10,
        n_tokens=640,
        chosen=True,
    )


class Accepting:
    """A validator that passes everything and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], int]] = []

    def validate(
        self,
        frame: pl.DataFrame,
        rules: Sequence[Rule],
        *,
        name: str,
        identify: tuple[str, ...] = ("layer", "neuron", "explanation_id"),
    ) -> list[Verdict]:
        self.asked.append((name, [rule.name for rule in rules], frame.height))
        return [Verdict(rule.name, True, rule.severity, rule.description, "", None) for rule in rules]


def test_rule_names_are_unique_and_only_statistical_rules_warn():
    rules = rules_for(STUDY)
    assert len({rule.name for rule in rules}) == len(rules)
    assert [rule.name for rule in rules if rule.severity == "warn"] == ["value_above_control"]


def test_the_studys_limit_is_the_rules_bound():
    rule = next(rule for rule in rules_for(STUDY) if rule.name == "unscored_share")
    assert rule.high == 0.25
    assert "25%" in rule.description


def test_rules_name_only_columns_that_exist():
    explanations = EXPLANATIONS.frame([explanation("a", 0, "token_pairs")])
    covered = coverage(SCORES.frame([]), explanations, STUDY)
    for rule in rules_for(STUDY):
        assert set(rule.columns) <= set((covered if rule.frame == "coverage" else SCORES.frame([])).columns)


def test_coverage_counts_rows_per_assigned_scorer_and_regime():
    explanations = EXPLANATIONS.frame(
        [
            explanation("pairs", 0, "token_pairs"),
            explanation("list", 1, "token_list"),
            explanation("refusal", 2, "token_pairs", status="refused"),
        ]
    )
    scores = SCORES.frame(
        [
            score("pairs", 0, "correlation_all_at_once", "random_only", split="valid"),
            score("pairs", 0, "correlation_all_at_once", "random_only", split="test"),
            score("list", 1, "correlation_embedding", "top_and_random"),
        ]
    )
    found = coverage(scores, explanations, STUDY)
    # The encoder's values do not tell where a neuron fires, so it has neither F1 nor IoU.
    assert found["scorer"].n_unique() == 2 * len(AGREEMENTS) - len(OF_FIRING)
    correlations = found.filter(pl.col("scorer").str.starts_with("correlation"))
    assert correlations.select("explanation_id", "scorer", "regime", "rows").rows() == [
        ("pairs", "correlation_all_at_once", "corpus", 0),
        ("pairs", "correlation_all_at_once", "top_and_random", 0),
        ("pairs", "correlation_all_at_once", "random_only", 2),
        ("pairs", "correlation_embedding", "corpus", 0),
        ("pairs", "correlation_embedding", "top_and_random", 0),
        ("pairs", "correlation_embedding", "random_only", 0),
        ("list", "correlation_embedding", "corpus", 0),
        ("list", "correlation_embedding", "top_and_random", 1),
        ("list", "correlation_embedding", "random_only", 0),
    ]


def test_coverage_asks_nothing_of_a_simulator_about_neurons_that_it_does_not_read():
    every = {"kind": "all_at_once", "explainers": ["token_pairs"]}
    explanations = EXPLANATIONS.frame(
        [explanation(f"e{neuron}", neuron, "token_pairs") for neuron in range(3)]
    )

    def wanted(**dear: object) -> list[int]:
        """The neurons of which a score by a dear simulator is due."""
        study = tiny_study(simulators={"every": every, "dear": every | dear}, subject={"layers": 2})
        due = coverage(SCORES.frame([]), explanations, study)
        assert set(due.filter(scorer="correlation_every")["neuron"]) == {0, 1, 2}
        return sorted(set(due.filter(scorer="correlation_dear")["neuron"]))

    one = tiny_study(simulators={"every": every, "dear": every | {"neurons_per_layer": 1}})
    (read,) = read_neurons(one, 0, [(neuron, 1) for neuron in range(3)], "dear")
    assert wanted(neurons_per_layer=1) == [read[0]]
    assert wanted(layers=[1]) == []
    assert wanted(layers=[0]) == [0, 1, 2]


def test_coverage_wants_judges_on_one_regime_and_an_auc_alone_of_an_encoder():
    scorers = {
        "detection": {"explainers": ["token_pairs"]},
        "retrieval": {"explainers": ["token_list"]},
        "ablation": {"simulators": ["all_at_once"]},
    }
    judged = KnownStudy.model_validate(STUDY.model_dump() | {"scorers": scorers})
    explanations = EXPLANATIONS.frame(
        [explanation("pairs", 0, "token_pairs"), explanation("list", 1, "token_list")]
    )
    due = coverage(SCORES.frame([]), explanations, judged).select("explanation_id", "scorer", "regime")
    known = coverage(SCORES.frame([]), explanations, STUDY).select("explanation_id", "scorer", "regime")
    assert due.join(known, on=due.columns, how="anti").sort(due.columns).rows() == [
        ("list", "retrieval_auc", "top_and_random"),
        ("pairs", "ablation_all_at_once", "random_only"),
        ("pairs", "ablation_all_at_once", "top_and_random"),
        ("pairs", "detection_auc", "top_and_random"),
        ("pairs", "detection_balanced_accuracy", "top_and_random"),
    ]


def test_values_are_held_to_the_range_of_their_measure():
    judged = KnownStudy.model_validate(
        STUDY.model_dump()
        | {"scorers": {"detection": {"explainers": ["token_pairs"]}}, "scoring": {"calibration": "linear"}}
    )
    ranges = {rule.frame: (rule.low, rule.high) for rule in rules_for(judged) if "in_range" in rule.name}
    assert {frame: tuple(bound and round(bound, 6) for bound in own) for frame, own in ranges.items()} == {
        "correlations": (-1, 1),
        "explained": (None, 1),
        "shares": (0, 1),
    }
    asked = Accepting()
    scorers = [
        "cosine_embedding",
        "r2_embedding",
        "deviation_all_at_once",
        "auprc_embedding",
        "detection_auc",
    ]
    scores = SCORES.frame([score("a", 0, scorer, "top_and_random") for scorer in scorers])
    verdicts(asked, scores=scores, explanations=EXPLANATIONS.frame([]), study=judged, name="t")
    assert {name: rows for name, _, rows in asked.asked} == {
        "t scores": 5, "t simulated": 4, "t due": 4, "t correlations": 1, "t explained": 2, "t shares": 2,
        "t coverage": 0, "t sampled": 1,
    }  # fmt: skip


def test_recognisable_neurons_and_what_a_ranking_spared_are_in_no_share_and_no_mean():
    asked = Accepting()
    usual = score("a", 0, "correlation_embedding", "corpus")
    missing = {"value": None, "null_reason": "not among the best 2 by embedding"}
    scores = SCORES.frame([usual, usual | {"sample": "recognisable"}, usual | missing])
    verdicts(asked, scores=scores, explanations=EXPLANATIONS.frame([]), study=STUDY, name="t")
    counts = {name: rows for name, _, rows in asked.asked}
    assert (counts["t due"], counts["t sampled"], counts["t correlations"]) == (1, 2, 3)


def test_every_rule_is_examined_once_on_its_own_frame():
    validator = Accepting()
    explanations = EXPLANATIONS.frame([explanation("list", 1, "token_list")])
    scores = SCORES.frame([score("list", 1, "correlation_embedding", regime) for regime in REGIMES])
    found = verdicts(validator, scores=scores, explanations=explanations, study=STUDY, name="tiny layer_00")
    assert sorted(verdict.rule for verdict in found) == sorted(rule.name for rule in rules_for(STUDY))
    assert {name: rows for name, _, rows in validator.asked} == {
        "tiny layer_00 scores": 3, "tiny layer_00 simulated": 3, "tiny layer_00 due": 3,
        "tiny layer_00 shares": 0, "tiny layer_00 correlations": 3, "tiny layer_00 explained": 0,
        "tiny layer_00 sampled": 3,
        "tiny layer_00 coverage": len(REGIMES) + len(AGREEMENTS) - len(OF_FIRING) - 1,
    }  # fmt: skip
    assert validator.asked[-1][1] == ["every_explanation_scored"]


def test_what_was_not_explained_rests_on_no_token_and_breaks_no_rule_for_it():
    asked = Accepting()
    due = {"correlation_embedding": "corpus", "auprc_embedding": "corpus"}
    rows = [score("list", 1, scorer, regime) for scorer, regime in due.items()]
    missing = {"value": None, "null_reason": "explanation refused", "n_sequences": 0, "n_tokens": 0}
    scores = SCORES.frame([*rows, *(each | missing | {"explanation_id": "none"} for each in rows)])
    verdicts(asked, scores=scores, explanations=EXPLANATIONS.frame([]), study=STUDY, name="t")
    assert {name: rows for name, _, rows in asked.asked if name in ("t simulated", "t due")} == {
        "t simulated": 2, "t due": 4,
    }  # fmt: skip


def test_a_silent_neuron_owes_no_score_and_a_constant_simulation_does():
    asked = Accepting()
    undefined = {"value": None, "ci_low": None, "ci_high": None}
    reasons = [*OF_THE_NEURON, "constant simulation"]
    rows = [
        score("list", 1, "correlation_embedding", "corpus") | undefined | {"null_reason": reason}
        for reason in reasons
    ]
    scores = SCORES.frame(rows)
    verdicts(asked, scores=scores, explanations=EXPLANATIONS.frame([]), study=STUDY, name="t")
    assert {name: n for name, _, n in asked.asked if name == "t due"} == {"t due": 1}
