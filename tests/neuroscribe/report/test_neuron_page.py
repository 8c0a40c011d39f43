"""Neurons on a page of Dagster: which are shown, and that hostile text stays text."""

from typing import Any

import polars as pl
import pytest

from neuroscribe.report.described import DescribedTables
from neuroscribe.report.neuron_page import description_rows, neuron_page
from neuroscribe.report.pictures import descriptions_png
from neuroscribe.report.tallies import description_tally
from neuroscribe.tables.descriptions import DESCRIPTIONS
from neuroscribe.tables.records import NEURON_RECORDS
from neuroscribe.testing.rows import filled, sequence_table, vocabulary_table
from tests.neuroscribe.report.test_pictures import HOSTILE, rendered, seen

MARKS = {"ceiling": 0.5, "control": 0.0123}


def described(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {"text": "words", "explanation_id": "e", "status": "explained", "by_llm": True} | MARKS
    return filled(DESCRIPTIONS, *({"neuron": n} | usual | row for n, row in enumerate(rows)))


def tables(descriptions: pl.DataFrame) -> DescribedTables:
    records = filled(NEURON_RECORDS, {"neuron": 0, "peak": 5.0, "peak_position": 1})
    text = vocabulary_table([b"The", b" rain", HOSTILE.encode()])
    return DescribedTables(descriptions, records, sequence_table([[0, 1, 2]]), text)


def test_best_worst_and_recognisable_neurons_are_shown_with_where_they_peak():
    drawn = {"sample": "recognisable", "text": "drawn"}
    scores = [0.9, 0.8, 0.7, 0.1, 0.2, 0.0]
    rows = [{"score": score, "text": f"text {score}"} for score in scores]
    page = seen(rendered(neuron_page(tables(described(*rows, {"score": 0.95} | drawn)))))
    order = [page.index(part) for part in ("Best of", "text 0.9", "text 0.7", "Worst of", "text 0.0")]
    assert order == sorted(order)
    assert page.index("text 0.1") > page.index("text 0.0")
    assert page.index("drawn") > page.index("Recognisable, drawn among")
    assert "The «rain»" in page
    assert page.count("text 0.7") == 1


def test_hostile_text_stays_text():
    page = neuron_page(tables(described({"score": 0.9, "text": HOSTILE, "why": HOSTILE})))
    html = rendered(page)
    assert "<script" not in html
    assert "<a " not in html
    assert "<img" not in html
    assert "<table" not in html
    assert "**bold** _it_" in seen(html)


def test_without_any_score_the_page_and_the_picture_say_so():
    nothing = described({"score": None})
    assert neuron_page(tables(nothing)) == "No description has a score."
    assert descriptions_png(nothing) != descriptions_png(described({"score": 0.5}))


@pytest.mark.parametrize("sample", ["random", "recognisable"])
def test_a_picture_shows_each_sample(sample: str):
    assert descriptions_png(described({"score": 0.5, "sample": sample})).startswith(b"\x89PNG")


def test_the_table_is_ordered_by_score_and_has_two_digits():
    rows = description_rows(described({"score": None}, {"score": 0.123}, {"score": 0.456}))
    assert rows.select("neuron", "score", "control").rows() == [
        (2, 0.46, 0.01),
        (1, 0.12, 0.01),
        (0, None, 0.01),
    ]


def test_means_and_statuses_are_those_of_the_random_sample():
    tally = description_tally(
        described(
            {"score": 0.2}, {"score": 0.4, "status": "not explained"}, {"score": None, "by_llm": False},
            {"score": 0.9, "sample": "recognisable"},
        )
    )  # fmt: skip
    assert tally["mean_score"] == pytest.approx(0.3)
    assert (tally["explained"], tally["not explained"], tally["recognisable"], tally["by_llm"]) == (
        2,
        1,
        1,
        2,
    )
