"""Data-quality rules of the explanations.

An `error` stops the run before anything is asked about texts that are broken. A `warn` says that a model, or
its server, does not do what is asked of it, which no later step mends.
"""

import polars as pl

from neuroscribe.ports.checks import Rows, Rule, Suite, Told
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.spec import Study

LEAST_ANSWERED = 0.75
MOST_REPEATED = 0.25
"""Two of eight neurons may well mean the same; a model that says it of more repeats itself."""
_ANSWERED = ("ok", "no_theme", "unchanged")
"""Statuses of an answer that was understood; the latter two have no text, and rightly so."""

RULES = (
    Rule(
        "one_row_each", "unique", ("explanation_id",),
        "Each explanation is one row.",
        frame="explanations",
    ),
    Rule(
        "text_or_status", "value_or_reason", ("text", "why_none"),
        "An explanation whose status is ok has a text, and no other has one.",
        frame="explanations",
    ),
    Rule(
        "explainer_answers", "within", ("answered",),
        f"Of what an explainer asks a language model, at least {LEAST_ANSWERED:.0%} is answered in the form"
        " asked for: not refused, cut off, unreadable or failed.",
        low=LEAST_ANSWERED, severity="warn", frame="explainers",
    ),
    Rule(
        "texts_differ", "null_share", ("own_text",),
        f"At most {MOST_REPEATED:.0%} of a layer's texts by language models are said of another of its"
        " neurons as well, by the same explainer.",
        high=MOST_REPEATED, severity="warn", frame="texts",
    ),
)  # fmt: skip


def rows_of(explanations: pl.DataFrame) -> dict[str, Rows]:
    """Return the rows that rules are about, by frame.

    - `explanations`: all, with `why_none` for those that are not ok
    - `explainers`: one per layer and explainer that asks a language model, with the share `answered`
    - `texts`: those by language models from the first draw of exemplars, with `own_text` null for one that
      another neuron of the layer has from the same explainer; case and white space tell no texts apart
    """
    asked = explanations.filter(pl.col("model") != "none")
    why_none = pl.when(pl.col("status") != "ok").then("status").alias("why_none")
    plain = pl.col("text").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    texts = asked.filter(pl.col("draw") == 0).drop_nulls("text").with_columns(plain=plain)
    sayers = pl.col("neuron").n_unique().over("layer", "explainer", "plain")
    return {
        "explanations": Rows(explanations.with_columns(why_none)),
        "explainers": Rows(_explainers(asked), ("layer", "explainer", "statuses")),
        "texts": Rows(
            texts.with_columns(own_text=pl.when(sayers == 1).then("text")),
            ("layer", "neuron", "explainer", "text"),
        ),
    }


def _explainers(asked: pl.DataFrame) -> pl.DataFrame:
    """Return per layer and explainer the share that was answered, and what became of the others in words."""
    counts = asked.group_by("layer", "explainer", "status").len().sort("layer", "explainer", "status")
    counted = pl.format("{} {}", "status", "len")
    return counts.group_by("layer", "explainer", maintain_order=True).agg(
        answered=pl.col("len").filter(pl.col("status").is_in(_ANSWERED)).sum() / pl.col("len").sum(),
        statuses=counted.str.join(", "),
    )


class ExplanationSuite(Suite):
    """What is examined of explanations."""

    stage = "explanations"

    def rules(self, study: Study) -> tuple[Rule, ...]:
        """Return the same rules for every study."""
        return RULES

    def rows(self, study: Study, layer: int | None, tables: TableReader, told: Told) -> dict[str, Rows]:
        """Return the rows of a layer."""
        return rows_of(tables.read(study.name, "explanations", layer))
