"""What a neuron is described by: of all explanations the one that was best on `valid`, with its scores."""

import polars as pl

from neuroscribe.tables.columns import LAYER, NEURON, POLARITY, SAMPLE, Column, Source, Table

STATUSES = (
    "explained", "token detector", "poorly explained", "nothing in common found", "not explained",
)  # fmt: skip
"""How far a description explains its neuron; the rules stand in neuroscribe/describe/statuses.py."""


def _score(name: str, description: str, *sources: Source) -> Column:
    return Column(name, pl.Float64(), description, nullable=True).made_from(*(sources or _SCORED))


def _judged(name: str, description: str) -> Column:
    return Column(name, pl.Float64(), description, nullable=True).made_from(("choices", "chosen"))


def _text(name: str, description: str) -> Column:
    return Column(name, pl.String(), description, nullable=True).made_from(("explanations", "text"))


def _id(name: str, description: str) -> Column:
    return Column(name, pl.String(), description, nullable=True).made_from(("explanations", "explanation_id"))


_SCORED: tuple[Source, ...] = (("scores", "value"),)

DESCRIPTIONS = Table(
    "descriptions",
    "What each neuron is described by: the explanation that was best on `valid` over all explainers and"
    " candidates, with its score on `test` over the corpus; what is undefined is null.",
    ("layer", "neuron", "polarity"),
    (
        LAYER,
        NEURON,
        POLARITY,
        SAMPLE,
        Column("status", pl.String(), "how far the neuron is explained: see STATUSES"),
        _id("explanation_id", "the explanation that describes it; null where there is none"),
        Column("explainer", pl.String(), "who wrote it", nullable=True).made_from(
            ("explanations", "explainer")
        ),
        _text("text", "the description"),
        Column(
            "parts", pl.List(pl.String()), "its parts, where it has some, as in explanations", nullable=True
        ).made_from(("explanations", "parts")),
        Column("by_llm", pl.Boolean(), "whether a language model wrote it", nullable=True),
        Column("why", pl.String(), "why this one, in words"),
        Column("scorer", pl.String(), "the scorer that decided, and by which the scores here are"),
        _score("valid_score", "its score on `valid`, by which it was chosen; null where nothing was chosen"),
        _score("score", "its score on `test`, over the corpus"),
        _score("ci_low", "lower bound of the 95 % interval of `score`", ("scores", "ci_low")),
        _score("ci_high", "upper bound of the same", ("scores", "ci_high")),
        _score("ceiling", "what the tokens alone reach, as in scores", ("scores", "ceiling")),
        _score("control", "mean of the same over other neurons' explanations", ("scores", "control")),
        Column("n_controls", pl.Int32(), "explanations of other neurons that it was held against"),
        _score("p", "how likely another neuron's explanation does as well", ("scores", "p")),
        _id("llm_explanation_id", "the best text of a language model on `valid`"),
        _text("llm_text", "that text"),
        _score("llm_score", "its score on `test`"),
        _id("free_explanation_id", "the best text made without a language model on `valid`"),
        _text("free_text", "that text"),
        _score("free_score", "its score on `test`"),
        _id("output_explanation_id", "the explanation of the neuron's output half"),
        _text("output_text", "that text"),
        _score("output_score", "how often a judge tells by it what the amplified neuron does"),
        _score("output_low", "lower bound of the 95 % interval of the same", ("scores", "ci_low")),
        _score("output_high", "upper bound of the same", ("scores", "ci_high")),
        _score("output_control", "the same for other neurons' explanations", ("scores", "control")),
        _judged("intruder", "how often a judge finds the excerpt that does not belong"),
        _judged("intruder_low", "lower bound of the 95 % interval of the same"),
        _judged("intruder_high", "upper bound of the same"),
    ),
)
