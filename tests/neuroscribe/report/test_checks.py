import polars as pl

from neuroscribe.report.checks import (
    STANDING,
    standing_line,
    standing_markdown,
    standing_text,
    warning_lines,
)

ROWS = [
    ("corpus", "all", "sequences_differ", "passes", "0 of 9 rows"),
    ("scores", "layer_00", "value_above_control", "warns", "mean difference -0.0100"),
    ("scores", "layer_01", "value_above_control", "passes", "mean difference 0.2000"),
    ("scores", "layer_01", "value_in_range", "fails", "1 of 5 rows"),
]


def standing(*rows: tuple[str, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), STANDING, orient="row")


def test_what_fails_comes_first_then_what_warns_each_with_its_finding():
    assert warning_lines(standing(*ROWS), 100) == [
        "2 checks pass, 1 warn, 1 fail:",
        "  fails: scores layer_01 value_in_range (1 of 5 rows)",
        "  warns: scores layer_00 value_above_control (mean difference -0.0100)",
    ]
    assert warning_lines(standing(ROWS[0]), 100) == []
    assert standing_line(standing(ROWS[0])) == "1 check passes"


def test_the_page_counts_the_layers_of_each_check():
    text = standing_text("toy", standing(*ROWS), 100)
    assert text.splitlines()[0] == "Checks of study toy: 2 checks pass, 1 warn, 1 fail"
    assert "scores  value_above_control       1      1      0" in text
    page = standing_markdown(standing(*ROWS))
    assert "| scores | layer_01 | value_in_range | fails | 1 of 5 rows |" in page
    assert "| scores | value_above_control | 1 | 1 | 0 |" in page


def test_a_study_that_was_never_checked_says_so():
    assert standing_text("toy", standing(), 100) == "Checks of study toy: no check has been made\n"
    assert standing_markdown(standing()).startswith("no check has been made.")
