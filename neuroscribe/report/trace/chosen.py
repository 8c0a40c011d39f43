"""Which explanation a trace is of: the description's, unless another explainer is named."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from neuroscribe.errors import StudyError
from neuroscribe.evidence.sample import set_aside
from neuroscribe.study.spec import Study

Row = dict[str, Any]


def chosen_explanation(
    study: Study,
    layer: int,
    neuron: int,
    tables: Mapping[str, pl.DataFrame],
    *,
    polarity: int | None = None,
    explainer: str | None = None,
) -> tuple[Row, Row | None]:
    """Return the rows of EXPLANATIONS and DESCRIPTIONS that are meant.

    Without a polarity it is the side with the better score. Raises StudyError, which says what there is, for
    a neuron, side or explainer of which there is nothing.
    """
    own = tables["explanations"].filter(pl.col("explainer").is_in(list(study.explainers)), neuron=neuron)
    if own.is_empty():
        raise StudyError(_not_there(study, layer, neuron, tables))
    described = tables["descriptions"].filter(neuron=neuron)
    side = _better_side(own, described) if polarity is None else polarity
    rows = own.filter(polarity=side)
    if rows.is_empty():
        there = ", ".join(f"{each:+d}" for each in own["polarity"].unique().sort(descending=True))
        raise StudyError(f"neuron {neuron} of layer {layer} is explained on side {there}, not on {side:+d}")
    description = next(iter(described.filter(polarity=side).to_dicts()), None)
    if explainer is None and description and description["explanation_id"]:
        return _by_id(rows, description["explanation_id"]), description
    if explainer is not None:
        rows = _of_explainer(rows, explainer)
    return _reported(rows, tables["scores"]), description


def _by_id(rows: pl.DataFrame, explanation_id: str) -> Row:
    found = rows.filter(explanation_id=explanation_id).to_dicts()
    if not found:
        raise StudyError(
            f"the description names explanation {explanation_id}, which is not among the explanations there;"
            " they have changed since, so run the study again"
        )
    return found[0]


def _better_side(explained: pl.DataFrame, described: pl.DataFrame) -> int:
    ranked = described.sort("score", "polarity", descending=True, nulls_last=True)["polarity"]
    sides = explained["polarity"].sort(descending=True)
    return int((ranked if len(ranked) else sides)[0])


def _of_explainer(rows: pl.DataFrame, explainer: str) -> pl.DataFrame:
    named = rows.filter(explainer=explainer)
    if named.is_empty():
        there = ", ".join(rows["explainer"].unique(maintain_order=True))
        raise StudyError(f"explainer {explainer!r} says nothing of this neuron; those that do: {there}")
    return named


def _reported(rows: pl.DataFrame, scores: pl.DataFrame) -> Row:
    """Return the row whose scores are reported: the chosen candidate, or else the first with a text."""
    chosen = scores.filter("chosen")["explanation_id"].unique().implode()
    return (
        rows.with_columns(is_chosen=pl.col("explanation_id").is_in(chosen), has_text=pl.col("status") == "ok")
        .sort("draw", "is_chosen", "has_text", descending=[False, True, True], maintain_order=True)
        .drop("is_chosen", "has_text")
        .row(0, named=True)
    )


def _not_there(study: Study, layer: int, neuron: int, tables: Mapping[str, pl.DataFrame]) -> str:
    there = ", ".join(map(str, tables["explanations"]["neuron"].unique().sort()))
    aside = (
        set_aside(study, layer, tables["activations/statistics"]).filter(neuron=neuron)["reason"].to_list()
    )
    why = f"was set aside ({aside[0]})" if aside else "is not in its sample"
    return (
        f"neuron {neuron} of layer {layer} {why}: study {study.name} explains neurons {there} of this layer"
    )
