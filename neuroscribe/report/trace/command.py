"""The command that shows what is behind a score, as it stands beside the materialisations it is for."""

import polars as pl

from neuroscribe.study.dues import scorer_name
from neuroscribe.study.spec import Study


def trace_command(study: str, layer: int, neuron: int) -> str:
    """Return what to type to see everything behind a neuron's score."""
    return f"make trace STUDY={study} LAYER={layer} NEURON={neuron}"


def best_traced(study: Study, frame: pl.DataFrame) -> dict[str, str]:
    """Return, as metadata, the command for the best neuron of SCORES or DESCRIPTIONS; none without a score.

    Of scores those on `test` over the corpus count, by the simulator that decides.
    """
    rows = frame
    if "regime" in frame.columns:
        headline = {
            "scorer": scorer_name(study.describing.simulator),
            "split": "test",
            "regime": "corpus",
        }
        rows = frame.filter(**headline, chosen=True).rename({"value": "score"})
    best = rows.drop_nulls("score").sort("score", "layer", "neuron", descending=[True, False, False])
    if best.is_empty():
        return {}
    return {"trace": trace_command(study.name, best["layer"][0], best["neuron"][0])}
