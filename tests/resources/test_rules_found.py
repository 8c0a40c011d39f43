"""The rules of every table by Great Expectations: sound rows pass, each fault breaks its own rule alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from neuroscribe.capture.rules import (
    FOLDED,
    ActivationSuite,
    CorpusSuite,
    RecordSuite,
    activation_rows,
    corpus_rows,
    record_rows,
)
from neuroscribe.explain.rules import ExplanationSuite
from neuroscribe.explain.rules import rows_of as explanation_rows
from neuroscribe.ports.checks import Rows, Suite, Told, Verdict, examined
from neuroscribe.score.comparisons import FEWEST, nearest, neighbour_rows
from neuroscribe.score.comparisons import RULES as COMPARING
from neuroscribe.tables.records import EXPLANATIONS, NEURON_RECORDS, SCORES, STATISTICS
from neuroscribe.testing.rows import (
    exemplar_row,
    explanation_row,
    filled,
    sequence_table,
    vocabulary_table,
)
from neuroscribe.testing.studies import tiny_study
from resources.expectations import Expectations

STUDY = tiny_study(subject={"neurons_per_layer": 4}, corpus={"sequences": 2, "sequence_length": 2})
VOCABULARY = vocabulary_table([b"a", b"b", b"c"])
TOKENS = [[place % 3, place // 3 % 3, place // 9] for place in range(24)]
"""Of 24 different sequences."""


def broken(suite: Suite, rows: Mapping[str, Rows], study: Any = STUDY) -> dict[str, Verdict]:
    found = examined(Expectations(), suite.rules(study), rows, name="t")
    assert {verdict.rule for verdict in found} == {rule.name for rule in suite.rules(study)}
    return {verdict.rule: verdict for verdict in found if not verdict.passed}


CORPUS_STUDY = tiny_study(corpus={"sequences": 24, "sequence_length": 3})


def corpus(
    tokens: Sequence[Sequence[int]] = TOKENS, folded: int = 8, apart: int = 12, **changed: pl.Expr
) -> dict[str, Verdict]:
    """Examine 24 sequences, each of its own document, of which so many are held out."""
    sequences = sequence_table(tokens, held_out=range(apart)).with_columns(**changed)
    return broken(CorpusSuite(), corpus_rows(sequences, VOCABULARY, Told({FOLDED: folded})), CORPUS_STUDY)


def test_a_sound_corpus_passes():
    assert corpus() == {}
    assert corpus(folded=0) == {}


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("sequence_ids_differ", lambda: corpus(sequence_id=pl.lit(0, pl.UInt32))),
        ("sequences_differ", lambda: corpus([*TOKENS[:23], TOKENS[0]])),
        ("sequence_is_whole", lambda: corpus([*TOKENS[:23], [0, 1]])),
        ("tokens_are_known", lambda: corpus([*TOKENS[:23], [0, 1, 3]])),
        ("documents_on_each_side", lambda: corpus(apart=9)),
        ("few_repeated_passages", lambda: corpus(folded=9)),
    ],
)
def test_each_fault_of_a_corpus_breaks_its_own_rule_alone(rule: str, found: Any):
    assert list(found()) == [rule]


def test_a_document_on_both_sides_and_a_corpus_with_one_side_alone_are_errors():
    found = corpus(
        document_id=pl.when(pl.col("document_id") == 23).then(0).otherwise("document_id").cast(pl.UInt32)
    )
    assert [row["document_id"] for row in found["document_on_one_side"].failing] == [0]
    assert set(corpus(apart=0)) == {"something_held_out", "documents_on_each_side"}


def test_what_was_not_told_is_not_examined():
    rows = corpus_rows(sequence_table(TOKENS, held_out=range(12)), VOCABULARY, Told())
    found = examined(Expectations(), CorpusSuite().rules(CORPUS_STUDY), rows, name="t")
    (folding,) = [verdict for verdict in found if verdict.rule == "few_repeated_passages"]
    assert folding.passed
    assert folding.observed == "nothing to examine"


def activations(*changes: dict[str, Any]) -> dict[str, Verdict]:
    """Examine four neurons with -1, 0, 0 and 3; the first ones with changes."""
    sound = {"n_tokens": 4, "mean": 0.5, "variance": 2.0, "min": -1.0, "max": 3.0, "histogram": [1, 2, 1]}
    rows = [sound | {"neuron": n} for n in range(4)]
    rows = [row | change for row, change in zip(rows, [*changes, *([{}] * 4)], strict=False)]
    return broken(ActivationSuite(), activation_rows(filled(STATISTICS, *rows)))


def test_sound_statistics_pass_and_so_do_those_without_histograms_and_of_a_constant_neuron():
    assert activations() == {}
    assert activations({"histogram": None}, {"min": 0.0, "max": 0.0, "mean": 0.0}) == {}
    assert activations({"mean": 3.0 + 1e-7}, {"dead": True}, {"dead": True}) == {}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("every_neuron_once", {"neuron": 1}),
        ("activations_are_numbers", {"variance": float("nan")}),
        ("activations_are_numbers", {"kurtosis": float("inf")}),
        ("histogram_holds_all", {"histogram": [1, 2, 0]}),
        ("mean_within_extremes", {"mean": 3.1}),
        ("mean_within_extremes", {"mean": -1.1}),
    ],
)
def test_each_fault_of_a_statistic_breaks_its_own_rule_and_names_the_neuron(
    rule: str, change: dict[str, Any]
):
    found = activations(change)
    assert list(found) == [rule]
    assert change.get("neuron", 0) in [row["neuron"] for row in found[rule].failing]
    assert found[rule].severity == "error"


def test_too_few_tokens_or_neurons_are_errors_and_too_many_dead_neurons_a_warning():
    assert "every_token_counted" in activations({"n_tokens": 3, "histogram": [1, 1, 1]})
    rows = activation_rows(filled(STATISTICS, {"neuron": 0, "n_tokens": 4}))
    assert list(broken(ActivationSuite(), rows)) == ["every_neuron_there"]
    found = activations(*[{"dead": True}] * 3)
    assert {rule: verdict.severity for rule, verdict in found.items()} == {"few_dead_neurons": "warn"}
    assert found["few_dead_neurons"].measure == 0.75


def records(
    *rows: dict[str, Any], polarities: tuple[int, ...] = (1,), low: float = -1.0
) -> dict[str, Verdict]:
    """Examine the records of one neuron with activations up to 3, on documents of which 0 and 1 share one."""
    statistics = filled(STATISTICS, {"neuron": 0, "min": low, "max": 3.0})
    sequences = sequence_table([[0, 1]] * 4, documents=[5, 5, 6, 7])
    rows_of = record_rows(filled(NEURON_RECORDS, *rows), statistics, sequences, polarities)
    return broken(RecordSuite(), rows_of)


TOP = exemplar_row(0, 0, [1.0, 3.0], split="train")


def test_sound_records_pass_of_both_signs_and_of_a_side_without_activity():
    below = exemplar_row(0, 2, [0.0, -1.0], polarity=-1)
    assert records(TOP, exemplar_row(0, 1, [0.5, 0.25], rank=1, split="train")) == {}
    assert records(TOP, below, polarities=(1, -1)) == {}
    assert records(TOP, polarities=(1, -1), low=0.0) == {}


@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        ("peak_is_the_extreme", [exemplar_row(0, 0, [1.0, 2.0])]),
        ("peak_in_its_place", [TOP | {"peak_position": 0}]),
        ("peak_in_its_place", [TOP | {"peak_position": 7}]),
        ("peak_in_its_place", [TOP | {"activations": [4.0, 3.0]}]),
        ("active_neuron_has_exemplars", [TOP | {"kind": "random"}]),
        ("document_in_one_split", [TOP, exemplar_row(0, 1, [0.5, 0.25], rank=1, split="test")]),
    ],
)
def test_each_fault_of_records_breaks_its_own_rule_and_names_the_neuron(
    rule: str, rows: list[dict[str, Any]]
):
    found = records(*rows)
    assert list(found) == [rule]
    assert found[rule].failing[0]["neuron"] == 0


def explanations(*rows: dict[str, Any]) -> dict[str, Verdict]:
    return broken(ExplanationSuite(), explanation_rows(EXPLANATIONS.frame(list(rows))))


def test_explanations_that_are_answered_and_differ_pass_whatever_is_said_without_an_llm():
    asked = [explanation_row(n) for n in range(4)]
    told = [explanation_row(n, 1, model="none", explainer="phrases", text="alike") for n in range(4)]
    unlisted = [explanation_row(n, 2, model="none", explainer="lists", status="failed") for n in range(4)]
    none = [explanation_row(n, 3, explainer="may", status="no_theme") for n in range(4)]
    assert explanations(*asked, *told, *unlisted, *none) == {}
    assert explanations(*asked[:3], explanation_row(3, status="refused")) == {}


def test_a_model_that_does_not_answer_or_repeats_itself_is_named_with_what_it_said():
    refusing = [explanation_row(n, status="refused" if n else "ok") for n in range(3)]
    found = explanations(*refusing, *[explanation_row(n, 1, explainer="other") for n in range(9)])
    assert list(found) == ["explainer_answers"]
    assert found["explainer_answers"].failing[0]["statuses"] == "ok 1, refused 2"
    same = [explanation_row(n, text=["Words", " words", "rain", "snow"][n]) for n in range(4)]
    found = explanations(*same)
    assert {rule: verdict.severity for rule, verdict in found.items()} == {"texts_differ": "warn"}
    assert [(row["neuron"], row["text"]) for row in found["texts_differ"].failing] == [
        (0, "Words"),
        (1, " words"),
    ]


def test_a_text_under_another_status_and_an_explanation_twice_are_errors():
    assert list(explanations(explanation_row(0) | {"status": "refused"}, *_fine())) == ["text_or_status"]
    assert list(explanations(explanation_row(0) | {"text": None}, *_fine())) == ["text_or_status"]
    assert list(explanations(explanation_row(1), *_fine())) == ["one_row_each"]


def _fine() -> list[dict[str, Any]]:
    return [explanation_row(n) for n in range(1, 9)]


def layer_scores(*values: float) -> pl.DataFrame:
    headline = {"scorer": "correlation_all_at_once", "chosen": True}
    return filled(SCORES, *({**headline, "neuron": n, "value": value} for n, value in enumerate(values)))


def beyond(own: float, *around: float) -> list[Verdict]:
    """Examine a layer whose neurons all have the same score, between such layers."""
    beside = [layer_scores(*[mean] * FEWEST) for mean in around]
    rows = {"neighbours": neighbour_rows(STUDY, 3, layer_scores(*[own] * FEWEST), beside)}
    return examined(Expectations(), COMPARING, rows, name="t")


def test_a_layer_may_lie_a_tenth_outside_its_neighbours_and_one_at_an_end_anywhere():
    assert [beyond(own, 0.3, 0.5)[0].passed for own in (0.19, 0.21, 0.4, 0.59, 0.61)] == [
        False, True, True, True, False,
    ]  # fmt: skip
    assert beyond(0.9, 0.3)[0].observed == beyond(0.9)[0].observed == "nothing to examine"


def test_a_layer_of_scattered_scores_may_lie_three_standard_errors_further_out():
    beside = [layer_scores(*[0.5] * FEWEST)] * 2
    # A mean of .2, with a standard deviation of .224 and so an error of .1.
    scattered = layer_scores(0.0, 0.0, 0.2, 0.4, 0.4)
    frame = neighbour_rows(STUDY, 3, scattered, beside).frame
    assert frame["beyond"].item() == pytest.approx(0.3)
    assert frame["allowed"].item() == pytest.approx(0.1 + 3 * 0.2 / 5**0.5)
    assert neighbour_rows(STUDY, 3, layer_scores(0.1, 0.1), beside).frame.is_empty()


def test_the_nearest_layers_are_one_on_either_side():
    assert nearest(6, [0, 3, 6, 12, 18]) == [3, 12]
    assert nearest(0, [0, 3, 6]) == [3]
    assert nearest(9, [0, 3]) == [3]
    assert nearest(9, [9]) == []
