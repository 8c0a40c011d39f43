"""Which texts simulators that are asked need not read: those that one that costs nothing finds worse.

Of all that language models wrote of a neuron only the best few are read by what is dear
(`scoring.simulated_candidates`). What needs no language model is always read.
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.study.sections import LLM_NEEDS
from neuroscribe.study.spec import Study

Row = Mapping[str, Any]
"""A row of EXPLANATIONS."""
_NOT_AMONG = "not among the best"


def spared(evidence: LayerEvidence, value: Callable[[Row], float]) -> frozenset[str]:
    """Return the ids of the explanations that are not read, none unless the study ranks them.

    `value` tells how good one is on `valid`; of those that are as good the first in the study's order stay.
    """
    study = evidence.study
    if not (count := study.scoring.simulated_candidates):
        return frozenset()
    texts: dict[Neuron, list[Row]] = {}
    for explainer in study.describing.explainers:
        if study.explainers[explainer].needs in LLM_NEEDS:
            for row in evidence.usable(explainer):
                texts.setdefault((row["neuron"], row["polarity"]), []).append(row)
    ranked = (sorted(rows, key=value, reverse=True) for rows in texts.values())
    return frozenset(row["explanation_id"] for rows in ranked for row in rows[count:])


def was_spared() -> pl.Expr:
    """Tell of scores whether they are missing for this reason, and so are no failure."""
    return pl.col("null_reason").str.starts_with(_NOT_AMONG).fill_null(value=False)


def why_spared(study: Study) -> str:
    """Return the reason that stands in the place of a score of what is not read."""
    return f"{_NOT_AMONG} {study.scoring.simulated_candidates} by {study.describing.simulator}"
