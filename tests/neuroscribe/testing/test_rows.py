import pytest

from neuroscribe.study.stages import TABLES
from neuroscribe.tables.records import SCORES
from neuroscribe.testing.rows import (
    exemplar_row,
    explanation_row,
    filled,
    judgement_row,
    lookup_table,
    row,
    sequence_table,
    vocabulary_table,
)
from neuroscribe.testing.studies import tiny_study


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_row_of_which_nothing_is_said_fits_its_table(name: str) -> None:
    assert TABLES[name].checked(filled(TABLES[name], {})).height == 1


def test_what_is_given_stands_and_the_rest_is_usual_null_or_empty() -> None:
    score = row(SCORES, value=0.25, split="valid")
    assert (score["value"], score["split"]) == (0.25, "valid")
    assert (score["regime"], score["ci_low"], score["n_tokens"]) == ("corpus", None, 0)


def test_a_column_that_a_table_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scores has no column valeu; it has explanation_id, layer"):
        row(SCORES, valeu=0.25)


def test_an_explanation_has_a_text_if_it_is_ok() -> None:
    assert explanation_row(3, 1)["text"] == "text 3 1"
    assert explanation_row(3, 1)["explanation_id"] == "e31"
    assert explanation_row(3, status="refused")["text"] is None


def test_an_answer_that_is_none_was_not_readable() -> None:
    assert judgement_row(0, label=True, said=None)["status"] == "unparsable"
    assert judgement_row(0, label=True, said=False)["status"] == "ok"


def test_an_exemplar_peaks_where_its_polarity_says() -> None:
    high, low = exemplar_row(0, 5, [1.0, 2.0, -3.0]), exemplar_row(0, 5, [1.0, 2.0, -3.0], polarity=-1)
    assert (high["peak"], high["peak_position"]) == (2.0, 1)
    assert (low["peak"], low["peak_position"]) == (-3.0, 2)


def test_small_tables_are_numbered_from_0() -> None:
    assert sequence_table([[7, 8], [9, 9]]).select("sequence_id", "token_ids").rows() == [
        (0, [7, 8]),
        (1, [9, 9]),
    ]
    assert vocabulary_table([b"a", b"\xff"]).select("token_id", "bytes").rows() == [(0, b"a"), (1, b"\xff")]
    means = lookup_table({4: 0.5}, neuron=2, polarity=-1)
    assert means.select("neuron", "polarity", "token_id", "count", "mean").rows() == [(2, -1, 4, 1, 0.5)]


def test_settings_of_the_subject_go_over_the_usual_ones_and_other_sections_are_whole() -> None:
    study = tiny_study(subject={"layers": 3}, explainers={"token_list": {}})
    assert (study.subject.layers, study.subject.neurons_per_layer) == (3, 8)
    assert list(study.explainers) == ["token_list"]
    assert study.simulators["all_at_once"].explainers == ("token_list",)
