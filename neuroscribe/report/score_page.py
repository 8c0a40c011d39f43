"""A layer's scores as Dagster shows them: every text with what it scores, and true over simulated values."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from jaxtyping import Float

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.report.described import best_and_worst, recognisable, without
from neuroscribe.report.explanation_page import MOST_ROWS
from neuroscribe.report.pictures import literal
from neuroscribe.simulate.questions import simulating, texts_for
from neuroscribe.study.dues import CORPUS, scorer_name

_BEST = 3
_RECOGNISABLE = 4
_BEFORE, _AFTER = 7, 4
"""Tokens shown around a peak."""
_FULL = 10
"""What a neuron's largest activation on the excerpt is drawn as; simulations go from 0 to 10, too."""
_KEY = ("neuron", "polarity", "explainer")
_COLUMNS = (
    "neuron", "polarity", "sample", "explainer", "status", "text", "score", "ci_low", "ci_high", "ceiling",
    "control", "n_controls", "null_reason",
)  # fmt: skip


def score_rows(evidence: LayerEvidence, scores: pl.DataFrame) -> pl.DataFrame:
    """Return one row per neuron and explainer, the best first: text, and score by the simulator that decides.

    Over the corpus, on `test`, of the chosen candidate; what that simulator does not read has no score here.
    """
    return _texts(evidence, scores).head(MOST_ROWS).select(_COLUMNS).with_columns(cs.float().round(2))


def score_page(
    evidence: LayerEvidence, scores: pl.DataFrame, *, encoders: EncoderSource, progress: Progress
) -> str:
    """Return Markdown with the best, the worst and the recognisable neurons, as they are simulated.

    For each its best text, and around the strongest peak that the explainer has not seen the true activation
    over the simulated one.
    """
    best_texts = _texts(evidence, scores).unique(["neuron", "polarity"], keep="first", maintain_order=True)
    best, worst = best_and_worst(best_texts, n=_BEST)
    drawn = without(recognisable(best_texts).head(_RECOGNISABLE), [best])
    sections = {
        "Best of the random sample": best,
        "Worst of the random sample": worst,
        "Recognisable, drawn among those that their tokens predict": drawn.drop_nulls("score"),
    }
    reader = _Reader(evidence, encoders, progress)
    blocks = [
        "\n\n".join([f"**{title}**", *(_block(row, reader) for row in rows.iter_rows(named=True))])
        for title, rows in sections.items()
        if len(rows)
    ]
    return "\n\n".join(blocks) or "No explanation has a score."


def _texts(evidence: LayerEvidence, scores: pl.DataFrame) -> pl.DataFrame:
    """Return the explanations of draw 0 with their scores: the chosen candidate of each explainer."""
    scorer = scorer_name(evidence.study.describing.simulator)
    found = scores.filter(split="test", regime=CORPUS, scorer=scorer).select(
        "explanation_id", "chosen", "ci_low", "ci_high", "ceiling", "control", "n_controls", "null_reason",
        score="value",
    )  # fmt: skip
    return (
        evidence.tables["explanations"]
        .filter(draw=0)
        .join(found, on="explanation_id", how="left", maintain_order="left")
        .sort("chosen", descending=True, nulls_last=True, maintain_order=True)
        .unique(_KEY, keep="first", maintain_order=True)
        .sort("score", "neuron", descending=[True, False], nulls_last=True, maintain_order=True)
    )


class _Reader:
    """What the simulator that decides says of a neuron on single sequences."""

    def __init__(self, evidence: LayerEvidence, encoders: EncoderSource, progress: Progress) -> None:
        self.evidence = evidence
        self._name = evidence.study.describing.simulator
        spec = simulating(evidence.study, self._name)
        self._whole = spec.whole_corpus(evidence, encoders, progress).readings if spec.costs_nothing else None

    def simulated(self, row: Mapping[str, Any], sequence: int) -> Float[np.ndarray, " token"] | None:
        """Return what an explanation lets expect on a sequence, 0 to 10; None where nothing was read."""
        neuron = (row["neuron"], row["polarity"])
        if self._whole is None:
            place = (row["explanation_id"], self._name, neuron)
            found = self.evidence.simulations.values(place, (sequence,))
            return None if found is None else found[0]
        kept = self.evidence.truth(neuron).sequence_ids
        if sequence not in kept:
            return None
        readings = self._whole(*texts_for(self.evidence.study, self._name, row))
        return readings[int(np.searchsorted(kept, sequence))]


def _block(row: Mapping[str, Any], reader: _Reader) -> str:
    text = "no text" if row["text"] is None else literal(row["text"].encode())
    known = {name: row[name] for name in ("score", "ceiling", "control") if row[name] is not None}
    marks = ", ".join(f"{name} {value:.2f}" for name, value in known.items())
    by = literal(row["explainer"].encode())
    head = f"Neuron {row['neuron']}, polarity {row['polarity']:+d}, {by}: **{text}**"
    return "\n\n".join([head, marks, *_compared(row, reader)])


def _compared(row: Mapping[str, Any], reader: _Reader) -> Sequence[str]:
    """Return a table of true over simulated values around the strongest unseen peak, if it was simulated."""
    shown = reader.evidence.paper_exemplars(row, "test")
    for sequence, truth in zip(shown.sequence_ids, shown.truth, strict=True):
        simulated = reader.simulated(row, sequence)
        if simulated is not None and np.isfinite(simulated).all() and truth.max() > 0:
            return [_table(reader.evidence.tokens[sequence], truth, simulated)]
    return []


def _table(
    tokens: Sequence[bytes], truth: Float[np.ndarray, " token"], simulated: Float[np.ndarray, " token"]
) -> str:
    peak = int(np.argmax(truth))
    window = slice(max(0, peak - _BEFORE), peak + _AFTER + 1)
    true_values = np.clip(truth[window] * (_FULL / truth.max()), 0, None)
    rows = [
        ["", *(literal(token.strip(b" ") or "\u2423".encode()) for token in tokens[window])],
        ["---"] * (len(true_values) + 1),
        ["true", *(f"{value:.0f}" for value in true_values)],
        ["simulated", *(f"{value:.0f}" for value in simulated[window])],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
