from collections.abc import Sequence

import polars as pl

from neuroscribe.records import EXPLANATIONS, SCORES
from neuroscribe.rules import REGIMES, Rule, Verdict, coverage, rules_for, verdicts
from neuroscribe.studies import Study

STUDY = Study.model_validate(
    {
        "name": "tiny",
        "description": "two explainers, two simulators",
        "subject": {"model": "tiny", "layers": 2, "neurons_per_layer": 4},
        "corpus": {"files": "text/*.txt", "sequences": 8},
        "llm": {"model": "tiny-chat"},
        "explainers": {"token_pairs": {}, "token_list": {}},
        "simulators": {
            "all_at_once": {"explainers": ["token_pairs"]},
            "embedding": {"explainers": ["token_pairs", "token_list"]},
        },
        "scoring": {"max_unscored_share": 0.25},
    }
)


def explanation(explanation_id: str, neuron: int, explainer: str, status: str = "ok") -> dict[str, object]:
    zeros = {name: 0 for name, dtype in EXPLANATIONS.schema.items() if dtype != pl.String}
    texts = {name: "" for name, dtype in EXPLANATIONS.schema.items() if dtype == pl.String}
    given = {"explanation_id": explanation_id, "neuron": neuron, "explainer": explainer, "status": status}
    return {**zeros, **texts, "sequence_ids": [], **given}


def score(
    explanation_id: str, neuron: int, scorer: str, regime: str, split: str = "test"
) -> dict[str, object]:
    return {
        **dict.fromkeys(SCORES.schema, None),
        "explanation_id": explanation_id,
        "layer": 0,
        "neuron": neuron,
        "polarity": 1,
        "explainer": "token_pairs",
        "scorer": scorer,
        "split": split,
        "regime": regime,
        "value": 0.5,
        "n_sequences": 10,
        "n_tokens": 640,
        "chosen": True,
    }


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
    assert [rule.name for rule in rules if rule.severity == "warn"] == [
        "interval_not_above_value",
        "interval_not_below_value",
        "value_above_control",
    ]


def test_the_studys_limit_is_the_rules_bound():
    rule = next(rule for rule in rules_for(STUDY) if rule.name == "unscored_share")
    assert rule.high == 0.25
    assert "25%" in rule.description


def test_rules_name_only_columns_that_exist():
    explanations = EXPLANATIONS.frame([explanation("a", 0, "token_pairs")])
    frames = {"scores": SCORES.frame([]), "coverage": coverage(SCORES.frame([]), explanations, STUDY)}
    for rule in rules_for(STUDY):
        assert set(rule.columns) <= set(frames[rule.frame].columns)


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
    found = coverage(scores, explanations, STUDY).select("explanation_id", "scorer", "regime", "rows")
    assert found.rows() == [
        ("pairs", "correlation_all_at_once", "top_and_random", 0),
        ("pairs", "correlation_all_at_once", "random_only", 2),
        ("pairs", "correlation_embedding", "top_and_random", 0),
        ("pairs", "correlation_embedding", "random_only", 0),
        ("list", "correlation_embedding", "top_and_random", 1),
        ("list", "correlation_embedding", "random_only", 0),
    ]


def test_every_rule_is_examined_once_on_its_own_frame():
    validator = Accepting()
    explanations = EXPLANATIONS.frame([explanation("list", 1, "token_list")])
    scores = SCORES.frame([score("list", 1, "correlation_embedding", regime) for regime in REGIMES])
    found = verdicts(validator, scores=scores, explanations=explanations, study=STUDY, name="tiny layer_00")
    assert sorted(verdict.rule for verdict in found) == sorted(rule.name for rule in rules_for(STUDY))
    assert [(name, rows) for name, _, rows in validator.asked] == [
        ("tiny layer_00 scores", 2),
        ("tiny layer_00 coverage", 2),
    ]
    assert validator.asked[1][1] == ["every_explanation_scored"]
