"""What was said of a layer's neurons, as Dagster shows it before anything is scored."""

from collections.abc import Mapping, Sequence

import polars as pl

from neuroscribe.report.excerpts import excerpts, firing
from neuroscribe.report.pictures import excerpt_markdown, literal
from neuroscribe.tables.columns import RANDOM, RECOGNISABLE

MOST_ROWS = 120
"""Rows of a table on a page; the file has them all."""
_NEURONS = {RANDOM: 6, RECOGNISABLE: 3}
"""Neurons shown with their excerpts, of each sort."""
_EXCERPTS = 3
_COLUMNS = (
    "neuron", "polarity", "sample", "explainer", "status", "text", "prompt_tokens", "completion_tokens",
)  # fmt: skip


def explanation_rows(explanations: pl.DataFrame) -> pl.DataFrame:
    """Return the first explanations of a layer, by neuron, without those from further draws of exemplars."""
    ordered = explanations.filter(draw=0).sort("neuron", "polarity", descending=[False, True])
    return ordered.head(MOST_ROWS).select(_COLUMNS)


def explanation_page(
    explanations: pl.DataFrame,
    records: pl.DataFrame,
    tokens_by_sequence: Mapping[int, Sequence[bytes]],
) -> str:
    """Return Markdown with the first neurons of each sort: where they peak, and all that was said of them.

    Whatever text holds is shown letter for letter (`pictures.literal`).
    """
    said = explanations.filter(draw=0)
    sides = {
        sample: said.filter(sample=sample).partition_by("neuron", "polarity", maintain_order=True)[:count]
        for sample, count in _NEURONS.items()
    }
    blocks = [_block(side, records, tokens_by_sequence) for some in sides.values() for side in some]
    return "\n\n".join(blocks) or "No neuron is explained."


def _block(
    said: pl.DataFrame, records: pl.DataFrame, tokens_by_sequence: Mapping[int, Sequence[bytes]]
) -> str:
    neuron, polarity, sample = said.select("neuron", "polarity", "sample").row(0)
    own = firing(records.filter(neuron=neuron, polarity=polarity), per_neuron=_EXCERPTS)
    texts = said.select("explainer", "status", "text").iter_rows()
    lines = [
        f"**Neuron {neuron}, polarity {polarity:+d}** ({sample})",
        "",
        *(f"- {excerpt_markdown(excerpt)}" for excerpt in excerpts(own, tokens_by_sequence)),
        "",
        *(f"- {literal(name.encode())}: {_said(status, text)}" for name, status, text in texts),
    ]
    return "\n".join(lines)


def _said(status: str, text: str | None) -> str:
    return status if text is None else f"**{literal(text.encode())}**"
