"""The rows of descriptions: one for each side, with the scores of the text that describes it."""

from typing import Any

import polars as pl
import pytest

from neuroscribe.describe.stage import described_layer
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.study.spec import Study
from neuroscribe.tables.choices import CHOICES
from neuroscribe.tables.records import EXPLANATIONS, SCORES
from neuroscribe.testing.rows import explanation_row, filled
from neuroscribe.testing.studies import tiny_study

BOTH = ["token_pairs", "token_list"]
MARKS = {"ci_low": 0.3, "ci_high": 0.5, "ceiling": 0.5, "control": 0.02, "n_controls": 10, "p": 0.001}


def study(**given: Any) -> Study:
    simulators = {"all_at_once": {"explainers": BOTH}, "embedding": {"explainers": BOTH}}
    return tiny_study(explainers={name: {} for name in BOTH}, simulators=simulators, **given)


def scored(name: str, value: float | None, split: str = "test", **given: Any) -> dict[str, Any]:
    place = {"explanation_id": name, "scorer": "correlation_embedding", "split": split}
    return place | {"value": value} | given


def described(*scores: dict[str, Any], **more: pl.DataFrame) -> list[dict[str, Any]]:
    explanations = EXPLANATIONS.frame(
        [
            explanation_row(1, explanation_id="a", polarity=-1, text="llm's", sample="recognisable"),
            explanation_row(
                1, explanation_id="b", polarity=-1, text="list", explainer="token_list", parts=["l", "i"],
                sample="recognisable",
            ),
            explanation_row(0, explanation_id="c", status="refused"),
            explanation_row(0, explanation_id="d", status="failed", explainer="token_list"),
        ]
    )  # fmt: skip
    tables = {"explanations": explanations, "scores": filled(SCORES, *scores), **more}
    return described_layer(LayerEvidence(study(), 3, tables)).to_dicts()


def test_the_best_on_valid_describes_with_its_score_on_test_over_the_corpus():
    _, row = described(
        scored("a", 0.1, "valid"), scored("b", 0.2, "valid"),
        scored("a", 0.9), scored("b", 0.4, **MARKS),
        scored("b", 0.8, regime="top_and_random"), scored("b", 0.7, scorer="correlation_all_at_once"),
    )  # fmt: skip
    assert [row[name] for name in ("layer", "neuron", "polarity", "sample")] == [3, 1, -1, "recognisable"]
    assert [row[name] for name in ("text", "parts", "by_llm")] == ["list", ["l", "i"], False]
    assert [row[name] for name in ("valid_score", "score", "control")] == [0.2, 0.4, 0.02]
    assert (row["llm_text"], row["llm_score"]) == ("llm's", 0.9)
    assert (row["free_text"], row["free_score"]) == ("list", 0.4)
    assert (row["status"], row["scorer"]) == ("explained", "correlation_embedding")


def test_a_side_of_which_nothing_was_said_has_a_row_with_nulls_and_the_reason():
    row, _ = described()
    assert [row[name] for name in ("explanation_id", "text", "score", "by_llm")] == [None] * 4
    assert (row["why"], row["status"]) == ("no explainer that describes gave a text", "not explained")
    assert row["n_controls"] == 0


def test_the_intruder_tells_a_neuron_without_a_concept_from_a_bad_text():
    asked = {"scorer": "intruder", "options": ["a", "b", "c"], "right": 0}
    choices = filled(
        CHOICES,
        *(asked | {"neuron": 0, "trial": n, "chosen": n % 3} for n in range(9)),
        *(asked | {"neuron": 1, "polarity": -1, "trial": n, "chosen": 0} for n in range(9)),
    )
    rows = described(choices=choices)
    assert [row["status"] for row in rows] == ["nothing in common found", "not explained"]
    assert [row["intruder"] for row in rows] == [pytest.approx(1 / 3), 1.0]
    assert rows[1]["intruder_low"] > 1 / 3
