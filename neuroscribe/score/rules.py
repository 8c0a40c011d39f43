"""Data-quality rules of the scores as plain data, and the verdicts on them.

A rule says what must hold and how bad a breach is; a `Validator` (adapter in `resources`) finds the breaches.
An `error` stops publication, a `warn` is recorded.
"""

from collections.abc import Collection

import polars as pl

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.sample import read_neurons
from neuroscribe.measures.agreement import OF_THE_NEURON
from neuroscribe.ports.checks import Rows, Rule, Validator, Verdict, examined
from neuroscribe.score.sentences import NOTHING_LISTED
from neuroscribe.simulate.ranking import was_spared
from neuroscribe.study.dues import RANGES, dues
from neuroscribe.study.scoring import AGREEMENTS, SIZES
from neuroscribe.study.spec import Study
from neuroscribe.tables.columns import RANDOM

ROUNDING = 1e-9
"""Slack for bounds that are computed in another order than the value they hold."""


_NOTHING_OWED = (*OF_THE_NEURON, NOTHING_LISTED)
"""Why a score is undefined where nothing has failed: a silent neuron, a description put into templates."""


def rules_for(study: Study) -> tuple[Rule, ...]:
    """Return the rules of a study's scores."""
    limit = study.scoring.max_unscored_share
    return (
        Rule(
            "share_in_range", "within", ("value",),
            "A share (F1, IoU, AUPRC, balanced accuracy, AUC, sensitivity, steering) is from 0 to 1.",
            low=-ROUNDING, high=1 + ROUNDING, frame="shares",
        ),
        Rule(
            "one_row_each", "unique", ("explanation_id", "scorer", "split", "regime"),
            "An explanation has one row per scorer, split and regime.",
        ),
        Rule(
            "every_explanation_scored", "within", ("rows",),
            "Every explanation has a row for each scorer assigned to its explainer and for each regime.",
            low=1.0, frame="coverage",
        ),
        Rule(
            "value_in_range", "within", ("value",),
            "A correlation, or cosine, is from -1 to 1.",
            low=-1 - ROUNDING, high=1 + ROUNDING, frame="correlations",
        ),
        Rule(
            "explained_in_range", "within", ("value",),
            "A share explained (r2, deviation, ablation) is at most 1.",
            high=1 + ROUNDING, frame="explained",
        ),
        Rule(
            "value_or_reason", "value_or_reason", ("value", "null_reason"),
            "A row has either a value or the reason why it has none.",
        ),
        Rule(
            "unscored_share", "null_share", ("value",),
            f"At most {limit:.0%} of the rows have no value where the neuron gives something to explain"
            " (scoring.max_unscored_share).",
            high=limit, frame="due",
        ),
        Rule(
            "tokens_scored", "within", ("n_tokens",),
            "A score by simulation rests on at least one token.",
            low=1.0, frame="simulated",
        ),
        Rule(
            "interval_has_width", "difference", ("ci_high", "ci_low"),
            "The upper bound of an interval is above its lower bound: no score of a sample is certain.",
            low=ROUNDING,
        ),
        Rule(
            "interval_reaches_down_to_value", "difference", ("value", "ci_low"),
            "A score is not below its interval.",
            low=-ROUNDING,
        ),
        Rule(
            "interval_reaches_up_to_value", "difference", ("ci_high", "value"),
            "A score is not above its interval.",
            low=-ROUNDING,
        ),
        Rule(
            "value_above_control", "mean_difference", ("value", "control"),
            "On average a correlation is above that of another neuron's explanation.",
            low=0.0, severity="warn", frame="sampled",
        ),
    )  # fmt: skip


def coverage(scores: pl.DataFrame, explanations: pl.DataFrame, study: Study) -> pl.DataFrame:
    """Return how many `rows` of scores each explanation with text has, per assigned scorer and regime.

    Those from further draws of exemplars are not due any, nor those that a dear simulator does not read.
    """
    key = ["explanation_id", "scorer", "regime"]
    counted = scores.group_by(key).agg(rows=pl.len().cast(pl.Int64))
    return (
        explanations.filter(pl.col("status") == "ok", pl.col("draw") == 0)
        .select("explanation_id", "layer", "neuron", "polarity", "explainer")
        .join(_assigned(study), on="explainer", maintain_order="left_right")
        .join(_unread(study, explanations), on=["scorer", "layer", "neuron", "polarity"], how="anti")
        .join(counted, on=key, how="left", maintain_order="left")
        .with_columns(pl.col("rows").fill_null(0))
    )


def verdicts(
    validator: Validator, *, scores: pl.DataFrame, explanations: pl.DataFrame, study: Study, name: str
) -> list[Verdict]:
    """Examine the scores of one or more layers by all rules of the study; `name` says which they are."""
    return examined(validator, rules_for(study), rows_of(scores, explanations, study), name=name)


def rows_of(scores: pl.DataFrame, explanations: pl.DataFrame, study: Study) -> dict[str, Rows]:
    """Return the rows that rules are about, by frame.

    - `scores`: all rows of that table
    - `simulated`: those that rest on simulations, without a run of the subject
    - `due`: those that an explanation of the random sample owes; an AUC wants probabilities, a silent neuron
      owes nothing, nor does a description to templates, nor what a ranking spared
    - `correlations`, `explained`, `shares`: those that lie between -1 and 1, up to 1, and between 0 and 1
    - `sampled`: of the correlations those of the random sample
    - `coverage`: see the function of that name
    """
    measures = {due.scorer: due.measure for due in dues(study)}

    def of(wanted: Collection[str]) -> pl.DataFrame:
        names = [scorer for scorer, measure in measures.items() if measure in wanted]
        return scores.filter(pl.col("scorer").is_in(names))

    def within(low: float | None, high: float) -> pl.DataFrame:
        return of([measure for measure, limits in RANGES.items() if limits == (low, high)])

    excused = pl.col("null_reason").is_in(_NOTHING_OWED).fill_null(value=False) | was_spared()
    frames = {
        "scores": scores,
        "simulated": of((*AGREEMENTS, *SIZES)).drop_nulls("value"),
        "due": of(set(RANGES) - {"auc"}).filter(~excused, sample=RANDOM),
        "correlations": within(-1.0, 1.0),
        "sampled": within(-1.0, 1.0).filter(sample=RANDOM),
        "explained": within(None, 1.0),
        "shares": within(0.0, 1.0),
        "coverage": coverage(scores, explanations, study),
    }
    return {name: Rows(frame) for name, frame in frames.items()}


def _unread(study: Study, explanations: pl.DataFrame) -> pl.DataFrame:
    """Return the sides of neurons that a dear simulator does not read, by scorer."""
    sides: dict[int, list[Neuron]] = {}
    for layer, *side in (
        explanations.select("layer", "neuron", "polarity").unique().sort(pl.all()).iter_rows()
    ):
        sides.setdefault(layer, []).append((side[0], side[1]))
    dear = {due.scorer: due.source for due in dues(study) if due.source in study.simulators}
    rows = [
        (scorer, layer, *side)
        for scorer, simulator in dear.items()
        for layer, every in sides.items()
        for side in sorted({*every} - read_neurons(study, layer, every, simulator))
    ]
    schema = {
        "scorer": pl.String,
        **{name: explanations.schema[name] for name in ("layer", "neuron", "polarity")},
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _assigned(study: Study) -> pl.DataFrame:
    """Return which scorers and regimes each explainer's explanations are due."""
    return pl.DataFrame(
        [
            {"explainer": due.explainer, "scorer": due.scorer, "regime": regime}
            for due in dues(study)
            for regime in due.regimes
        ],
        schema={"explainer": pl.String, "scorer": pl.String, "regime": pl.String},
    )
