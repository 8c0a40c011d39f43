"""Excerpts: the tokens around a peak, as exact bytes, for people to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

TOKENS_BEFORE, TOKENS_AFTER = 12, 6


@dataclass(frozen=True)
class Excerpt:
    """A peak and the text around it; the three pieces are adjoining bytes of one sequence."""

    before: bytes
    peak: bytes
    after: bytes
    activation: float
    """At the peak, signed."""
    starts: bool
    """Whether the sequence starts with this text."""
    ends: bool
    """Whether the sequence ends with this text."""

    def marked(self) -> tuple[bytes, bytes, bytes]:
        """Return text before, peak and text after, for marking: the peak gives its outer spaces away.

        A peak that is all spaces becomes visible signs for them.
        """
        core = self.peak.strip(b" ")
        if not core:
            return self.before, "␣".encode() * len(self.peak), self.after
        left, right = self.peak.split(core, 1)
        return self.before + left, core, right + self.after


def excerpt(tokens: Sequence[bytes], position: int, activation: float) -> Excerpt:
    """Return the text around one token of a sequence."""
    first = max(0, position - TOKENS_BEFORE)
    last = min(len(tokens), position + 1 + TOKENS_AFTER)
    return Excerpt(
        before=b"".join(tokens[first:position]),
        peak=tokens[position],
        after=b"".join(tokens[position + 1 : last]),
        activation=activation,
        starts=first == 0,
        ends=last == len(tokens),
    )


def firing(records: pl.DataFrame, *, per_neuron: int) -> pl.DataFrame:
    """Return the first top exemplars of each neuron and polarity, without those that are silent."""
    shown = (
        (pl.col("kind") == "top") & (pl.col("rank") < per_neuron) & (pl.col("peak") * pl.col("polarity") > 0)
    )
    return records.filter(shown).sort("neuron", "polarity", "rank", descending=[False, True, False])


def excerpts(rows: pl.DataFrame, tokens_by_sequence: Mapping[int, Sequence[bytes]]) -> list[Excerpt]:
    """Return the text around the peak of each row of a table of neuron records."""
    return [
        excerpt(tokens_by_sequence[row["sequence_id"]], row["peak_position"], row["peak"])
        for row in rows.select("sequence_id", "peak_position", "peak").iter_rows(named=True)
    ]
