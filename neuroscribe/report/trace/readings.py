"""What simulators and other scorers have kept of an explanation, beside what the neuron really does."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.report.trace.tree import ReadSequence, Scored, Simulated
from neuroscribe.study.stages import STAGES
from neuroscribe.text.escaping import escaped

SEQUENCES = 2
"""Sequences shown of each simulator: those where the neuron fires most."""
_OTHER_SCORERS = ("judgements", "ablations", "sentences", "choices")


def simulations(evidence: LayerEvidence, row: Mapping[str, Any]) -> tuple[Simulated, ...]:
    """Return what each simulator made of an explanation, a row of EXPLANATIONS, in the study's order."""
    every = evidence.tables["simulations"].filter(explanation_id=row["explanation_id"])
    own = (pl.col("neuron") == row["neuron"]) & (pl.col("polarity") == row["polarity"])
    return tuple(
        _simulated(evidence, name, rows.filter(own), rows.filter(~own))
        for name in evidence.study.simulators
        if len(rows := every.filter(simulator=name))
    )


def _simulated(evidence: LayerEvidence, name: str, own: pl.DataFrame, others: pl.DataFrame) -> Simulated:
    both = pl.concat([own, others])
    return Simulated(
        simulator=name,
        model=both["model"][0],
        sequences=_counts(own, "split"),
        controls=len(others),
        statuses=_counts(both, "status"),
        reads_whole_corpus=evidence.study.simulators[name].costs_nothing,
        shown=tuple(_strongest(evidence, own)),
    )


def _strongest(evidence: LayerEvidence, rows: pl.DataFrame) -> Iterator[ReadSequence]:
    """Yield the readings of sequences of `test`, or else others, the strongest true peak first."""
    tested = rows.filter(split="test")
    read = [_read(evidence, row) for row in (tested if len(tested) else rows).iter_rows(named=True)]
    read.sort(key=lambda each: (-max(each.true, default=0.0), each.sequence_id))
    yield from read[:SEQUENCES]


def _read(evidence: LayerEvidence, row: Mapping[str, Any]) -> ReadSequence:
    kept, sequence = evidence.truth((row["neuron"], row["polarity"])), row["sequence_id"]
    places = np.flatnonzero(kept.sequence_ids == sequence)
    spelled = evidence.tokens[sequence] if sequence in evidence.tokens.ids else ()
    return ReadSequence(
        sequence_id=sequence,
        split=row["split"],
        status=row["status"],
        tokens=tuple(escaped(token) for token in spelled),
        simulated=tuple(_number(value) for value in row["simulated"]),
        true=tuple(kept.values[places[0]].tolist()) if len(places) else (),
    )


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def scored(evidence: LayerEvidence, row: Mapping[str, Any]) -> tuple[Scored, ...]:
    """Return what the other scorers have kept of an explanation, or of its neuron where they need none."""
    present = [name for name in _OTHER_SCORERS if STAGES[name].present(evidence.study)]
    return tuple(
        _scored(name, scorer, rows, row)
        for name in present
        for scorer, rows in _by_scorer(evidence.tables[name], row)
    )


def _by_scorer(table: pl.DataFrame, row: Mapping[str, Any]) -> Iterator[tuple[str, pl.DataFrame]]:
    mine = pl.col("explanation_id") == row["explanation_id"]
    of_neuron = pl.col("explanation_id").is_null() & _is_own(row)
    name = "scorer" if "scorer" in table.columns else "simulator"
    for (scorer,), rows in table.filter(mine | of_neuron).group_by(name, maintain_order=True):
        yield str(scorer), rows


def _scored(table: str, scorer: str, rows: pl.DataFrame, row: Mapping[str, Any]) -> Scored:
    own = rows.filter(_is_own(row))
    models = rows["model"].unique().sort().to_list() if "model" in rows.columns else []
    statuses = _counts(rows, "status") if "status" in rows.columns else {}
    return Scored(table, scorer, len(own), len(rows) - len(own), statuses, tuple(models))


def _is_own(row: Mapping[str, Any]) -> pl.Expr:
    return (pl.col("neuron") == row["neuron"]) & (pl.col("polarity") == row["polarity"])


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    return {str(value): count for value, count in rows[column].value_counts().sort(column).iter_rows()}
