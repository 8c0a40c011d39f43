"""How much explanations depend on which exemplars they were made from.

A seeded few neurons are explained again from two other draws of exemplars. Texts that say the same, and are
worth the same, are of the neuron; others are of the exemplars.
"""

import polars as pl

from neuroscribe.study.dues import CORPUS

_COLUMNS = {
    "explainer": pl.String, "scorer": pl.String, "neurons": pl.Int64, "texts": pl.Int64,
    "similarity": pl.Float64, "score": pl.Float64, "change": pl.Float64,
}  # fmt: skip


def stability_table(explanations: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Return one row per explainer and scorer: how alike explanations from other exemplars are.

    `texts` counts those that have a text beside a first one; `similarity` is the mean cosine of both by the
    study's encoder, `score` the mean of the first over the corpus on `test`, `change` the mean size by which
    the others' scores differ from it. Null where nothing is known.
    """
    sides = ["layer", "neuron", "polarity", "explainer"]
    again = explanations.filter((pl.col("draw") > 0) & (pl.col("status") == "ok"))
    known = scores.filter(split="test", regime=CORPUS).select("explanation_id", "scorer", "value")
    scored = again.select("explanation_id", *sides, "similarity").join(known, on="explanation_id")
    first = (
        explanations.filter(draw=0, sample_index=0)
        .select("explanation_id", *sides)
        .join(known, on="explanation_id")
        .select(*sides, "scorer", first="value")
    )
    pairs = scored.join(first, on=[*sides, "scorer"])
    table = pairs.group_by("explainer", "scorer", maintain_order=True).agg(
        neurons=pl.struct("layer", "neuron", "polarity").n_unique().cast(pl.Int64),
        texts=pl.len().cast(pl.Int64),
        similarity=pl.col("similarity").mean(),
        score=pl.col("first").mean(),
        change=(pl.col("value") - pl.col("first")).abs().mean(),
    )
    return table.cast(_COLUMNS)  # pyright: ignore[reportArgumentType]
