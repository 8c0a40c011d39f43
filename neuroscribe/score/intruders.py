"""How often the intruder was found among a neuron's exemplars: a mark of the neuron, not of an explanation.

By guessing it is found once in (shown + 1) questions, a fifth of them unless set otherwise. The interval is
of what other draws from the same exemplars would give; excerpts recur among questions.
"""

from typing import Any

import polars as pl

from neuroscribe.measures.shares import share
from neuroscribe.tables.choices import CHOICES

INTRUDERS = {
    "scorer": pl.String(), "neuron": pl.Int32(), "polarity": pl.Int8(), "intruder": pl.Float64(),
    "intruder_low": pl.Float64(), "intruder_high": pl.Float64(), "guessed": pl.Float64(),
    "n_questions": pl.Int32(), "n_unreadable": pl.Int32(),
}  # fmt: skip
"""Columns of `intruders`: the share of questions in which the intruder was found, its interval, what guessing
gives, and how many questions were answered readably and were not."""


def intruders(choices: pl.DataFrame, scorer: str | None = None) -> pl.DataFrame:
    """Return one row per neuron and polarity of a layer's CHOICES by one intruder scorer, the first if any.

    A side that nothing could be asked about has no row. The share is null where more than half of the answers
    cannot be read.
    """
    asked = CHOICES.checked(choices).filter(pl.col("explanation_id").is_null())
    if len(asked):
        asked = asked.filter(pl.col("scorer") == (scorer or asked["scorer"][0]))
    groups = asked.partition_by("scorer", "neuron", "polarity", as_dict=True, maintain_order=True)
    rows = [
        {"scorer": name, "neuron": neuron, "polarity": polarity, **_found(own)}
        for (name, neuron, polarity), own in groups.items()
    ]
    return pl.DataFrame(rows, schema=INTRUDERS)


def _found(asked: pl.DataFrame) -> dict[str, Any]:
    read = asked.drop_nulls("chosen")
    counts = {"n_questions": len(read), "n_unreadable": len(asked) - len(read)}
    guessed = len(asked) / int(asked["options"].list.len().sum())
    if 2 * len(read) < len(asked):
        return {"intruder": None, "intruder_low": None, "intruder_high": None, "guessed": guessed, **counts}
    right = (read["chosen"] == read["right"]).to_numpy()
    estimate = share(right, read["trial"].to_numpy())
    return {
        "intruder": estimate.value,
        "intruder_low": estimate.ci_low,
        "intruder_high": estimate.ci_high,
        "guessed": guessed,
        **counts,
    }
