"""What paraphrases lose and revisions gain, paired over the neurons."""

from typing import Any

import polars as pl
import pytest

from neuroscribe.report.gaps import gains, gaps
from neuroscribe.tables.records import EXPLANATIONS, SCORES
from neuroscribe.testing.rows import explanation_row, filled
from neuroscribe.testing.studies import tiny_study

KINDS = {"token_pairs": {}, "paraphrase": {"of": "token_pairs"}, "revision": {"of": "token_pairs"}}
STUDY = tiny_study(
    explainers=KINDS,
    simulators={"embedding": {"explainers": list(KINDS)}},
    paraphraser_llm={"model": "other"},
)
SCORER = "correlation_embedding"
Values = dict[str, float | None]


def tables(*values: Values, **given: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The explanations and scores of neurons 0, 1 ..., each with the values of some explainers."""
    made = [
        explanation_row(neuron, explainer=name, explanation_id=f"{name} {neuron}", **given)
        for neuron, own in enumerate(values)
        for name in own
    ]
    scored = [
        {
            "explanation_id": f"{name} {neuron}",
            "neuron": neuron,
            "explainer": name,
            "scorer": SCORER,
            "value": value,
        }
        for neuron, own in enumerate(values)
        for name, value in own.items()
    ]
    return EXPLANATIONS.frame(made), filled(SCORES, *scored)


def row(found: pl.DataFrame) -> dict[str, Any]:
    return found.filter(scorer=SCORER).to_dicts()[0]


def test_a_gap_is_the_original_less_its_paraphrase_over_neurons_that_have_both() -> None:
    both = [{"token_pairs": 0.5, "paraphrase": 0.4}, {"token_pairs": 0.3, "paraphrase": 0.0}]
    found = row(gaps(STUDY, *tables(*both, {"token_pairs": 0.9}, {"paraphrase": 0.1})))
    assert (found["explainer"], found["of"], found["n"], found["undefined"]) == (
        "paraphrase",
        "token_pairs",
        2,
        0,
    )
    assert (found["first"], found["own"]) == (pytest.approx(0.4), pytest.approx(0.2))
    assert found["difference"] == pytest.approx(0.2)
    assert (found["ci_low"], found["ci_high"]) == (None, None)


def test_from_three_neurons_on_a_gap_has_students_interval() -> None:
    found = row(
        gaps(STUDY, *tables(*({"token_pairs": 0.5, "paraphrase": 0.5 - gap} for gap in (0.1, 0.2, 0.3))))
    )
    # Mean .2, standard error .1 / sqrt(3), and t of 2 degrees 4.3027.
    assert found["ci_low"] == pytest.approx(0.2 - 4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert found["ci_high"] == pytest.approx(0.2 + 4.3027 * 0.1 / 3**0.5, abs=1e-4)


def test_a_score_that_only_one_of_the_two_has_is_counted() -> None:
    found = row(
        gaps(
            STUDY,
            *tables({"token_pairs": 0.5, "paraphrase": None}, {"token_pairs": None, "paraphrase": None}),
        )
    )
    assert (found["n"], found["undefined"], found["difference"]) == (0, 1, None)


def test_a_gain_is_the_revision_less_the_first() -> None:
    found = row(gains(STUDY, *tables({"token_pairs": 0.2, "revision": 0.3})))
    assert (found["explainer"], found["difference"]) == ("revision", pytest.approx(0.1))


def test_neurons_that_were_drawn_for_being_recognisable_are_in_no_mean() -> None:
    shown = tables({"token_pairs": 0.2, "paraphrase": 0.3}, sample="recognisable")
    assert row(gaps(STUDY, *shown))["n"] == 0


def test_a_study_without_such_explainers_has_neither() -> None:
    alone = tiny_study(explainers={"token_pairs": {}})
    assert gaps(alone, *tables({"token_pairs": 0.2})).is_empty()
    assert gains(alone, *tables({"token_pairs": 0.2})).is_empty()
