from dataclasses import replace

import polars as pl
import pytest

from neuroscribe.kinds import KnownStudy
from neuroscribe.report.means import scorer_table
from neuroscribe.report.summary import Results, Summary, summary
from neuroscribe.report.text import report_text
from tests.neuroscribe.report.toy_results import (
    MAIN,
    SECOND,
    STUDY,
    described,
    results,
    scored,
    table,
    with_more,
)

EMPTIED = ("scores", "explanations", "descriptions")


@pytest.fixture(scope="module")
def summed() -> Summary:
    return summary(STUDY, results(), calls={0: 40, 3: 20}, seconds={0: 61.5})


def test_each_explained_layer_has_a_row_and_the_last_row_is_for_all_of_them(summed: Summary):
    assert summed.layers.drop("ci_low", "ci_high", "above", "compared").to_dicts() == [
        {"layer": 0, "neurons": 3, "dead": 0, "explained": 2, "scored": 2, "score": 0.4, "ceiling": 0.6}
        | {"score_or_0": 0.4, "control": 0.05, "nulls": 0, "calls": 40, "tokens": 220, "seconds": 61.5},
        {"layer": 3, "neurons": 3, "dead": 1, "explained": 1, "scored": 1, "score": 0.9}
        | {"score_or_0": 0.45, "ceiling": pytest.approx(0.8), "control": None}
        | {"nulls": 1, "calls": 20, "tokens": 220, "seconds": None},
        {"layer": None, "neurons": 6, "dead": 1, "explained": 3, "scored": 3}
        | {
            "score": pytest.approx(1.7 / 3),
            "score_or_0": pytest.approx(1.7 / 4),
            "ceiling": pytest.approx(2 / 3),
            "control": 0.05,
        }
        | {"nulls": 1, "calls": 60, "tokens": 440, "seconds": None},
    ]


def test_the_layer_table_holds_the_intervals_of_three_neurons_and_more(summed: Summary):
    assert summed.layers.select("ci_low", "ci_high").rows()[:2] == [(None, None), (None, None)]
    found = results()
    more = [described(f"m{n}", 3, n + 2, value) for n, value in enumerate([0.8, 0.7])]
    layers = summary(STUDY, with_more(found, *more)).layers
    # Of .9, .8 and .7 by Student's t: 4.303 times .1 over the root of 3, and no correlation is above 1
    assert layers.select("ci_low", "ci_high").row(1) == (pytest.approx(0.552, abs=1e-3), 1.0)


def test_beside_the_mean_of_defined_scores_stands_that_with_the_others_as_0(summed: Summary):
    means = summed.scorers.select("regime", "score", "score_or_0").rows()[:2]
    assert means == [
        ("corpus", pytest.approx(1.7 / 3), pytest.approx(1.7 / 4)),
        ("random_only", 0.1, 0.1),
    ]
    text = report_text(summed, 200)
    assert "null=0" in text
    assert "it is too far from 0" in " ".join(text.split())


def test_what_guessing_scores_above_0_has_no_mean_with_undefined_ones_as_0():
    judged = KnownStudy.model_validate(
        STUDY.model_dump() | {"scorers": {"detection": {"explainers": ["token_pairs"]}}}
    )
    scores = table("scores", *(scored("a", 0, 0, value, scorer="detection_auc") for value in (0.8, None)))
    assert scorer_table(judged, scores).select("score", "score_or_0").rows() == [(0.8, None)]


def test_other_scorers_explainers_and_regimes_are_listed_apart(summed: Summary):
    assert summed.scorers.select("scorer", "explainer", "regime", "n", "score", "nulls").rows() == [
        (MAIN, "token_pairs", "corpus", 3, pytest.approx(1.7 / 3), 1),
        (MAIN, "token_pairs", "random_only", 1, 0.1, 0),
        (SECOND, "token_pairs", "corpus", 1, 0.3, 0),
        (SECOND, "token_list", "corpus", 1, 0.4, 0),
    ]


def compared(*marks: tuple[int, float | None]) -> Summary:
    """The summary of descriptions with so many controls, and such a chance that another text does as well."""
    rows = [described("c", 3, n, 0.5, n_controls=own, p=p) for n, (own, p) in enumerate(marks)]
    return summary(STUDY, replace(results(), descriptions=table("descriptions", *rows)))


def test_explanations_are_clearly_better_by_benjamini_and_hochberg_over_all_that_were_compared(
    summed: Summary,
):
    # Of four the k-th smallest must be at most k times .0125: .01 and .02 are, and .04 is not.
    found = compared((10, 0.02), (10, 0.04), (10, 0.01), (10, 0.9))
    assert (found.clear, found.compared) == (2, 4)
    said = "Clearly better than other neurons' explanations: 0 of 1 descriptions, above all 10 controls"
    assert said in " ".join(report_text(compared((10, 0.06)), 100).split())
    assert (summed.clear, summed.compared) == (0, 0)
    assert "unknown, for none has 10 controls" in " ".join(report_text(summed, 100).split())


def test_one_that_an_early_control_equalled_counts_among_the_compared():
    # Alone .04 is clear; beside one that was held against the first three alone, it is not.
    assert (compared((10, 0.04)).clear, compared((10, 0.04)).compared) == (1, 1)
    found = compared((10, 0.04), (3, 0.5), *[(10, None)] * 9)
    assert (found.clear, found.compared) == (0, 2)


def test_in_a_layer_with_too_few_others_the_beaten_are_not_compared_alone():
    # Five neurons: those that none of four others equals cannot count, and so the one that was cannot either.
    assert compared((4, 0.4), *[(4, 0.001)] * 4).compared == 0


def test_one_that_was_held_against_few_or_has_no_score_is_not_compared():
    found = compared((10, 0.01), (9, 0.001), (3, 0.25), (2, 1.0), (10, None))
    assert (found.clear, found.compared) == (1, 1)


def test_statuses_and_reasons_are_counted(summed: Summary):
    counted = summed.statuses.select("explainer", "ok", "refused", "unparsable", "failed")
    assert counted.rows() == [("token_pairs", 3, 1, 0, 0), ("token_list", 1, 0, 0, 0)]
    assert summed.null_reasons.rows() == [(MAIN, "token_pairs", "explanation refused", 1)]


def test_what_was_set_aside_in_the_explained_layers_is_counted_by_reason(summed: Summary):
    # Layer 0 has a near-dead neuron and a silent one, layer 3 a dead one; layer 1 was not explained.
    assert summed.set_aside == {"dead": 1, "near_dead": 1, "silent": 1}


def test_the_first_are_those_that_are_explained_and_none_comes_twice(summed: Summary):
    assert [(item.text, item.score) for item in summed.recognised] == [("text of c", 0.9), ("text of b", 0.6)]
    assert [item.score for item in summed.best] == [0.2]
    assert (summed.worst, summed.recognisable) == ((), ())
    shown = summed.recognised[0].excerpts
    assert [(e.before, e.peak, e.after) for e in shown] == [
        (b"The", b" rain", b" fell"),
        (b" fell", b"\n<i>", b" fell"),
    ]
    assert [e.activation for e in shown] == [4.0, 3.0]


def test_those_whose_text_names_where_they_peak_come_before_better_ones():
    named = described("n", 0, 0, 0.55, polarity=-1, text="what falls: rain, snow")
    found = with_more(results(), named)
    below = {"layer": 0, "neuron": 0, "polarity": -1, "kind": "top", "sequence_id": 0}
    peaks = table("neuron_records", below | {"peak": -4.0, "peak_position": 1})
    summed = summary(STUDY, replace(found, records=pl.concat([found.records, peaks])))
    assert [item.score for item in summed.recognised] == [0.55, 0.9, 0.6]
    assert 0.55 not in [item.score for item in (*summed.best, *summed.worst)]


def test_recognisable_neurons_may_come_first_are_marked_and_are_in_no_mean(summed: Summary):
    drawn = {"sample": "recognisable", "ceiling": 0.9, "control": 0.0}
    more = summary(
        STUDY,
        with_more(
            results(),
            described("r", 0, 2, 0.95, **drawn),
            described("s", 3, 2, 0.1, status="poorly explained", **drawn),
        ),
    )
    assert [(item.text, item.sample) for item in more.recognised[:1]] == [("text of r", "recognisable")]
    assert [item.text for item in more.recognisable] == ["text of s"]
    known = [name for name in summed.layers.columns if name not in ("calls", "seconds")]
    assert more.layers.select(known).equals(summed.layers.select(known))
    assert more.explainers.equals(summed.explainers)
    assert more.statuses_of_neurons == {"explained": 2, "poorly explained": 1, "not explained": 1}
    text = report_text(more, 110)
    assert "  layer 0, neuron 2, polarity +1, recognisable: explained" in text
    assert "Further recognisable neurons: drawn among those that their tokens predict" in text


def test_scores_of_recognisable_neurons_are_in_no_mean_of_a_scorer(summed: Summary):
    found = results()
    more = table("scores", scored("r", 0, 2, -1.0, sample="recognisable"))
    assert summary(STUDY, replace(found, scores=pl.concat([found.scores, more]))).scorers.equals(
        summed.scorers
    )


def test_explainers_stand_beside_the_descriptions_with_how_many_are_above_all_ten():
    controls = [(10, 0.01), (10, 0.05), (10, 0.2), (3, 0.5)]
    scores = [scored("c", 3, n, 0.5, n_controls=own, p=p) for n, (own, p) in enumerate([*controls] * 3)]
    rows = [described("c", 3, n, 0.5, n_controls=10, p=0.01) for n in range(12)]
    found = replace(results(), scores=table("scores", *scores), descriptions=table("descriptions", *rows))
    table_of = summary(STUDY, found).explainers.select("explainer", "n", "above", "compared", "best")
    assert table_of.rows() == [("descriptions", 12, 12, 12, 0), ("token_pairs", 12, 6, 12, 12)]


def test_what_a_ranking_spared_is_counted_apart(summed: Summary):
    found = results()
    reason = "not among the best 2 by embedding"
    more = table("scores", scored("x", 0, 2, None, null_reason=reason))
    ranked = summary(STUDY, replace(found, scores=pl.concat([found.scores, more])))
    assert ranked.scorers.equals(summed.scorers)
    assert ranked.null_reasons.equals(summed.null_reasons)
    assert ranked.spared.rows() == [(MAIN, "token_pairs", reason, 1)]
    assert f"Not read by {MAIN} of token_pairs: 1 x {reason}" in report_text(ranked, 110)


def test_plain_words_say_what_a_score_is_worth(summed: Summary):
    assert [item.how_good for item in (*summed.recognised, *summed.best)] == [
        "good: 0.90, more than the tokens alone reach (0.80)",
        "good: 0.60, where the tokens alone reach 0.70; other neurons' texts reach 0.00",
        "poor: 0.20, where the tokens alone reach 0.50; other neurons' texts reach 0.10",
    ]


BEGINNING = """\
Study toy: toy/subject

2 neurons that are explained, first those whose text names where they peak (the token between « and »)
  layer 3, neuron 0, polarity +1: explained
      text of c
      good: 0.90, more than the tokens alone reach (0.80); by token_pairs, a language model (the only text)
        4: The «rain» fell
        3:  fell«\\n<i>» fell
"""
LAYERS = """\
Descriptions by layer: correlation_all_at_once, over the corpus
layer neurons dead explained scored score      interval ceiling control above nulls null=0 calls tokens
    0       3    0         2      2  0.40             -    0.60    0.05     -     0   0.40    40    220
    3       3    1         1      1  0.90             -    0.80       -     -     1   0.45    20    220
  all       6    1         3      3  0.57 [-0.31, 1.00]    0.67    0.05     -     1   0.43    60    440
"""


def test_the_report_begins_with_neurons_that_a_person_recognises(summed: Summary):
    lines = report_text(summed, 110, next_steps=["make ui    look at the graph"]).splitlines()
    assert lines[:8] == BEGINNING.splitlines()
    start = lines.index("Descriptions by layer: correlation_all_at_once, over the corpus")
    assert lines[start : start + 5] == LAYERS.splitlines()
    assert lines[-2:] == ["What to type next", "  make ui    look at the graph"]
    for line in (
        "9 neurons captured (3 layers), 1 dead",
        "Of the random sample: 2 explained, 1 poorly explained, 1 not explained (docs/scores.md says by which"
        " rules).",
        "Set aside before any call: 1 dead, 1 near-dead, 1 silent on the side to be explained",
        "Explanations by token_pairs: 3 ok, 1 refused",
        "No score by correlation_all_at_once of token_pairs: 1 x explanation refused",
        "  layer 0, neuron 0, polarity +1: poorly explained",
        "      words about <b>rain</b>\\n\\u202ebackwards",
    ):
        assert line in lines


def test_a_run_that_explains_nothing_says_so_first():
    found = results()
    poor = replace(found, descriptions=found.descriptions.with_columns(status=pl.lit("not explained")))
    text = report_text(summary(STUDY, poor), 110)
    assert text.splitlines()[2].startswith(
        "No neuron of this run is explained: no description is clearly better"
    )


def test_what_a_neuron_does_stands_below_what_it_fires_on():
    done = described("c", 3, 0, 0.9, output_text="ends of\nwords", output_score=0.75)
    found = replace(results(), descriptions=table("descriptions", done))
    assert "      what it does: ends of\\nwords (told by it in 75 %)" in report_text(
        summary(STUDY, found), 110
    )


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_report_fits_the_terminal(summed: Summary, width: int):
    lines = report_text(summed, width).splitlines()
    heads = [line for line in lines if line.startswith("layer ")]
    assert max(len(line) for line in lines) <= width
    assert "neurons" in heads[0]
    assert "seconds" in heads[-1], "columns that do not fit are shown below, not lost"


def test_hostile_text_cannot_reach_the_terminal(summed: Summary):
    text = report_text(summed, 100)
    assert not [character for character in text if character != "\n" and not character.isprintable()]


def test_a_run_without_any_score_still_gives_a_report():
    found = results()
    empty = Results(**{**vars(found), **{name: vars(found)[name].clear() for name in EMPTIED}})
    text = report_text(summary(STUDY, empty), 100)
    assert "Best of the random sample, by correlation_all_at_once\n  none" in text


def test_a_layer_whose_neurons_are_all_dead_or_nearly_is_listed_as_such():
    found = results()
    silent = table(
        "activations/statistics",
        *({"layer": 2, "neuron": n, "dead": n < 2, "near_dead": n == 2} for n in range(3)),
    )
    with_silent = Results(**{**vars(found), "statistics": pl.concat([found.statistics, silent])})
    summed = summary(STUDY, with_silent, calls={0: 40, 3: 20}, seconds={0: 61.5, 3: 2.0})
    assert summed.silent_layers == (2,)
    lines = report_text(summed, 110).splitlines()
    start = lines.index("Descriptions by layer: correlation_all_at_once, over the corpus")
    assert lines[start + 3].split() == ["2", "3", "2", "0", "0", *"-----", "0", "-", "0", "0"]
    assert lines[start + 4].split()[-1:] == ["220"]
    assert lines[start + 5].split()[-1:] == ["440"]
    assert "All neurons of layer 2 are dead or near-dead: none can be explained." in lines


def test_a_study_without_any_live_neuron_still_gives_a_report():
    found = results()
    dead = found.statistics.with_columns(dead=pl.lit(value=True))
    empty = Results(
        **{
            **vars(found),
            "statistics": dead,
            **{name: vars(found)[name].clear() for name in EMPTIED},
        }
    )
    text = report_text(summary(STUDY, empty), 100)
    assert "All neurons of layers 0, 1, 3 are dead or near-dead: none can be explained." in text
