"""Scores from written sentences: the share of them on which the neuron fires.

The interval is of what the same writer would write from the same explanation: sentences of one call are no
independent draws of all that the explanation means, and those with one phrase in them count as one.
Sentences that are missing are left out and counted; where they are more than half there is no score.
"""

from typing import Any

import numpy as np
import polars as pl

from neuroscribe.evidence.controls import held_controls
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.agreement import UNFIRED
from neuroscribe.measures.controls import chance
from neuroscribe.measures.estimate import Estimate
from neuroscribe.measures.shares import share
from neuroscribe.score.rows import Basis, Marks, score_row
from neuroscribe.study.dues import Due
from neuroscribe.tables.sentences import NO_PHRASES, SENTENCES

NOTHING_LISTED = "the explanation lists no tokens or phrases that templates could take"
"""Why a description has no score by templates, whatever it says."""


class Sentences:
    """Scores one layer's sentences."""

    def __init__(self, evidence: LayerEvidence) -> None:
        self._evidence = evidence
        sentences = evidence.tables.get("sentences", SENTENCES.frame([]))
        keys = ["explanation_id", "scorer", "neuron", "polarity"]
        self._written = sentences.partition_by(keys, as_dict=True, maintain_order=True)
        self._controls = held_controls(evidence.tables["explanations"], sentences, "scorer")

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of one writing scorer and explainer."""
        return [self._row(due, row) for row in self._evidence.explanations(due.explainer)]

    def _row(self, due: Due, explanation: dict[str, Any]) -> dict[str, Any]:
        neuron = (explanation["neuron"], explanation["polarity"])
        own = self._found(explanation["explanation_id"], due.source, neuron)
        others = [
            sensitivity(self._found(control, due.source, neuron)).value
            for control in self._controls.get((due.explainer, due.source, neuron), [])
        ]
        read = own.drop_nulls("fires")
        (regime,) = due.regimes
        n_tokens, unread = int(read["n_tokens"].sum()), len(own) - len(read)
        basis = Basis(explanation, "test", regime, len(read), n_tokens, unread)
        estimate = self._estimate(explanation, neuron, own)
        known = [other for other in others if other is not None]
        control = float(np.mean(known)) if known else None
        return score_row(
            due, basis, estimate, Marks(None, control, len(others), chance(estimate.value, others))
        )

    def _found(self, explanation_id: str, scorer: str, neuron: Neuron) -> pl.DataFrame:
        nothing = SENTENCES.frame([])
        return self._written.get((explanation_id, scorer, *neuron), nothing)

    def _estimate(self, explanation: dict[str, Any], neuron: Neuron, own: pl.DataFrame) -> Estimate:
        if (status := explanation["status"]) != "ok":
            return Estimate.missing(f"explanation {status}")
        if not np.isfinite(self._evidence.firing(neuron)):
            return Estimate.missing(UNFIRED)
        return sensitivity(own)


def sensitivity(written: pl.DataFrame) -> Estimate:
    """Return the share of the SENTENCES of one explanation on one neuron on which it fires."""
    if not len(written):
        return Estimate.missing("no sentence was written")
    if (written["status"] == NO_PHRASES).all():
        return Estimate.missing(NOTHING_LISTED)
    read = written.drop_nulls("fires")
    if 2 * len(read) < len(written):
        return Estimate.missing(f"only {len(read)} of {len(written)} sentences can be used")
    units = read.select(pl.coalesce("phrase", pl.col("item").cast(pl.String)).rank("dense")).to_series()
    return share(read["fires"].to_numpy(), units.to_numpy().astype(np.int64))
