import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neuroscribe.ports.checks import Rule, Validator, Verdict
from neuroscribe.score.rules import coverage, rules_for
from neuroscribe.study.dues import REGIMES
from neuroscribe.tables.records import SCORES
from neuroscribe.testing.rows import row as any_row
from neuroscribe.testing.studies import tiny_study
from resources.expectations import Expectations

STUDY = tiny_study(
    subject={"neurons_per_layer": 9},
    explainers={"token_list": {}},
    simulators={"embedding": {"explainers": ["token_list"]}},
    scoring={"max_unscored_share": 0.5},
)
RULES = tuple(rule for rule in rules_for(STUDY) if rule.frame not in ("coverage", "explained"))


def row(neuron: int, **changed: Any) -> dict[str, Any]:
    place = {"neuron": neuron, "explainer": "token_list", "scorer": "correlation_embedding", "chosen": True}
    sound = {"value": 0.5, "ci_low": 0.2, "ci_high": 0.7, "ceiling": 0.6, "control": 0.1}
    counts = {"n_sequences": 10, "n_tokens": 640}
    return any_row(SCORES, **place | sound | counts | {"explanation_id": f"e{neuron}"} | changed)


UNSCORED = {"value": None, "ci_low": None, "ci_high": None, "null_reason": "constant simulation"}


def verdicts_on(rows: list[dict[str, object]], rules: tuple[Rule, ...] = RULES) -> dict[str, Verdict]:
    validator: Validator = Expectations()
    found = validator.validate(SCORES.frame(rows), rules, name="tiny layer_00")
    assert [verdict.rule for verdict in found] == [rule.name for rule in rules]
    return {verdict.rule: verdict for verdict in found}


def neurons(verdict: Verdict) -> list[object]:
    return [failing["neuron"] for failing in verdict.failing]


def test_sound_scores_pass_every_rule():
    found = verdicts_on([row(0), row(1, **UNSCORED), row(2, value=1.0, ci_low=0.9, ci_high=1.0)])
    assert [verdict.rule for verdict in found.values() if not verdict.passed] == []
    assert found["value_in_range"].observed == "0 of 3 rows"
    assert found["value_above_control"].measure == pytest.approx((0.4 + 0.9) / 2)
    assert all(verdict.failing == () for verdict in found.values())


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("value_in_range", row(7, value=1.5, ci_high=1.5)),
        ("value_in_range", row(7, value=math.nan)),
        ("value_in_range", row(7, value=-math.inf, ci_low=-math.inf)),
        ("value_or_reason", row(7, value=None)),
        ("value_or_reason", row(7, null_reason="constant truth")),
        ("tokens_scored", row(7, n_tokens=0)),
        ("interval_has_width", row(7, ci_low=0.5, ci_high=0.5)),
        ("interval_has_width", row(7, ci_low=0.8, ci_high=0.3)),
        ("interval_reaches_down_to_value", row(7, ci_low=0.6)),
        ("interval_reaches_up_to_value", row(7, ci_high=0.4)),
    ],
)
def test_a_broken_rule_names_the_neuron(rule: str, bad: dict[str, object]):
    found = verdicts_on([row(1), bad, row(2)])
    assert not found[rule].passed
    assert neurons(found[rule]) == [7]
    assert found[rule].failing[0]["explanation_id"] == "e7"
    assert found[rule].observed == "1 of 3 rows"
    assert found[rule].measure == 1.0


def test_both_rows_of_a_pair_that_should_be_one_are_named():
    verdict = verdicts_on([row(1), row(7), row(7, value=0.4), row(7, split="valid")])["one_row_each"]
    assert (verdict.passed, neurons(verdict), verdict.severity) == (False, [7, 7], "error")


def test_too_many_rows_without_a_value_fail_and_are_named():
    half = verdicts_on([row(1), row(2, **UNSCORED)])["unscored_share"]
    assert (half.passed, half.measure, half.observed) == (True, 0.5, "1 of 2 rows (50.0%)")
    most = verdicts_on([row(1), row(2, **UNSCORED), row(3, **UNSCORED)])["unscored_share"]
    assert (most.passed, neurons(most)) == (False, [2, 3])
    assert most.measure == pytest.approx(2 / 3)


def test_scores_no_better_than_their_control_warn():
    rows = [row(1, control=0.5), row(2, control=0.5), row(3, value=0.9, ci_high=0.9, control=None)]
    verdict = verdicts_on(rows)["value_above_control"]
    assert (verdict.passed, verdict.severity, verdict.measure) == (False, "warn", 0.0)


def test_an_explanation_without_a_row_is_named():
    scores = SCORES.frame([*(row(1, regime=regime) for regime in REGIMES), row(7, regime="corpus")])
    explanations = pl.DataFrame(
        {
            "explanation_id": ["e1", "e7"],
            "layer": [0, 0],
            "neuron": [1, 7],
            "polarity": [1, 1],
            "explainer": ["token_list"] * 2,
            "status": ["ok"] * 2,
            "draw": [0] * 2,
        }
    )
    rules = [rule for rule in rules_for(STUDY) if rule.frame == "coverage"]
    covered = coverage(scores, explanations, STUDY).filter(scorer="correlation_embedding")
    (verdict,) = Expectations().validate(covered, rules, name="coverage")
    assert (verdict.rule, verdict.passed, neurons(verdict)) == ("every_explanation_scored", False, [7, 7])


def test_a_layer_without_explanations_passes_and_says_so():
    found = verdicts_on([])
    assert all(verdict.passed and verdict.measure is None for verdict in found.values())
    assert {verdict.observed for verdict in found.values()} == {"nothing to examine"}


def test_rows_without_intervals_and_controls_pass_their_rules():
    found = verdicts_on([row(1, ci_low=None, ci_high=None, control=None)])
    assert found["interval_has_width"].passed
    assert found["value_above_control"].observed == "nothing to examine"


def test_a_verdict_names_at_most_as_many_rows_as_asked():
    frame = SCORES.frame([row(n, n_tokens=0) for n in range(5)])
    rules = [rule for rule in RULES if rule.name == "tokens_scored"]
    (verdict,) = Expectations(failing_rows=2).validate(frame, rules, name="tiny")
    assert (neurons(verdict), verdict.measure) == ([0, 1], 5.0)


def test_the_module_is_imported_without_great_expectations():
    code = "import sys, resources.expectations; assert 'great_expectations' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
