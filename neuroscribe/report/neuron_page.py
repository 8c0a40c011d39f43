"""Neurons with their descriptions on a page of Dagster: a table, and Markdown that cannot do harm."""

import polars as pl
import polars.selectors as cs

from neuroscribe.report.described import (
    Described,
    DescribedTables,
    best_and_worst,
    best_first,
    recognisable,
    shown,
    without,
)
from neuroscribe.report.pictures import excerpt_markdown, literal

_BEST = 3
_RECOGNISABLE = 6
_COLUMNS = (
    "neuron", "polarity", "sample", "status", "text", "score", "ci_low", "ci_high", "ceiling", "control",
    "n_controls", "explainer", "why", "llm_text", "llm_score", "free_score", "output_text", "output_score",
    "intruder",
)  # fmt: skip


def description_rows(descriptions: pl.DataFrame, *, most: int = 50) -> pl.DataFrame:
    """Return the first neurons of a layer, the best first, with numbers in two digits."""
    undefined = descriptions.filter(pl.col("score").is_null())
    ordered = pl.concat([best_first(descriptions), undefined]).head(most)
    return ordered.select(_COLUMNS).with_columns(cs.float().round(2))


def neuron_page(tables: DescribedTables) -> str:
    """Return Markdown with the best, the worst and the recognisable neurons, and where they peak.

    Whatever text holds is shown letter for letter (`pictures.literal`).
    """
    best, worst = best_and_worst(tables.descriptions, n=_BEST)
    drawn = without(recognisable(tables.descriptions).head(_RECOGNISABLE), [best])
    sections = {
        "Best of the random sample": best,
        "Worst of the random sample": worst,
        "Recognisable, drawn among those that their tokens predict": drawn,
    }
    blocks = [
        "\n\n".join([f"**{title}**", *map(_block, shown(rows, tables))])
        for title, rows in sections.items()
        if len(rows)
    ]
    return "\n\n".join(blocks) or "No description has a score."


def _block(item: Described) -> str:
    text = "no description" if item.text is None else literal(item.text.encode())
    lines = [
        f"Neuron {item.neuron}, polarity {item.polarity:+d}, {item.status}: **{text}**",
        "",
        f"{literal(item.how_good.encode())} ({literal(item.why.encode())})",
        "",
        *(f"- {excerpt_markdown(excerpt)}" for excerpt in item.excerpts),
    ]
    return "\n".join(lines).rstrip()
