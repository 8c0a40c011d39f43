"""A study and its random-weights twin are set side by side, and the report warns where the twin scores."""

from typing import Any

import polars as pl
import pytest

from neuroscribe.report.summary import summary
from neuroscribe.report.text import report_text
from neuroscribe.report.twins import SideBySide, side_by_side
from neuroscribe.study.stages import TABLES
from neuroscribe.study.twins import Twins
from neuroscribe.testing.rows import filled
from neuroscribe.testing.studies import tiny_study
from tests.neuroscribe.report.test_summary import STUDY as TOY
from tests.neuroscribe.report.test_summary import results

STUDY = tiny_study(name="own")
TWIN = tiny_study(name="twin", subject={"randomised": True})
SCORER = "correlation_all_at_once"


def score(neuron: int, value: float | None, control: float | None, **given: Any) -> dict[str, Any]:
    place = {"explanation_id": str(neuron), "layer": 0, "neuron": neuron, "scorer": SCORER, "chosen": True}
    return place | {"value": value, "control": control} | given


def scores(*rows: dict[str, Any]) -> pl.DataFrame:
    return filled(TABLES["scores"], *rows)


def beside(*twin: dict[str, Any]) -> SideBySide:
    trained = scores(
        score(0, 0.5, 0.1),
        score(1, 0.3, 0.1),
        score(2, 0.9, None),
        score(3, None, 0.9),
        score(4, 0.9, 0.0, split="valid"),
        score(5, 0.9, 0.0, chosen=False),
        score(6, 0.9, 0.0, layer=1),
    )
    return side_by_side(Twins(STUDY, TWIN), [0], trained, scores(*twin))


def rows(found: SideBySide) -> list[tuple[Any, ...]]:
    own = found.table.filter(scorer=SCORER)
    return own.select("weights", "n", "score", "control", "difference", "error").rows()


def test_means_and_differences_are_over_reported_explanations_with_score_and_control() -> None:
    trained, twin = rows(beside(score(0, 0.03, 0.02)))

    assert trained == ("trained", 2, *map(pytest.approx, (0.4, 0.1, 0.3, 0.1)))
    assert twin[:2] == ("randomised", 1)
    assert twin[4:] == (pytest.approx(0.01), None)


def test_a_twin_without_scores_has_no_means() -> None:
    assert rows(beside())[1] == ("randomised", 0, None, None, None, None)


def test_only_a_twin_above_its_control_by_more_than_two_hundredths_is_warned_of() -> None:
    assert beside(score(0, 0.12, 0.101)).beyond.is_empty()
    assert beside(score(0, 0.12, 0.09)).beyond["scorer"].to_list() == [SCORER]


def test_sizes_that_nothing_fitted_are_not_compared() -> None:
    assert "r2_all_at_once" not in beside().table["scorer"].to_list()


def report(found: SideBySide | None) -> str:
    return report_text(summary(TOY, results(), twins=found), 110)


def test_the_report_shows_both_and_a_warning() -> None:
    text = report(beside(score(0, 0.2, 0.1), score(1, 0.3, 0.1)))

    start = text.index("Trained (own) and random weights (twin): layers 0")
    lines = [line.split() for line in text[start:].splitlines()[2:4]]
    named = ["correlation_all_at_once", "of", "token_pairs"]
    assert lines == [
        [*named, "trained", "2", "0.40", "0.10", "+0.30", "±", "0.10"],
        [*named, "randomised", "2", "0.25", "0.10", "+0.15", "±", "0.05"],
    ]
    assert "WARNING: with random weights the control is beaten by more than 0.02 by" in text


def test_a_twin_that_stays_within_its_control_is_said_to_do_so() -> None:
    text = report(beside(score(0, 0.1, 0.1)))

    assert "With random weights no mean is above its control by more than 0.02." in text
    assert "WARNING" not in text


def test_a_study_without_a_twin_is_reported_without_one() -> None:
    assert "random weights" not in report(None)
