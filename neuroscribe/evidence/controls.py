"""Controls: other neurons' explanations held against this neuron, as a mark of what any text would score."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.evidence.exemplars import Neuron

Unseen = Callable[[Mapping[str, Any], Neuron], bool]
"""Tells whether an explanation's explainer has seen nothing of what a neuron is tested on."""


def controls(
    usable: Sequence[Mapping[str, Any]], unseen: Unseen, *, count: int, seed: str
) -> dict[Neuron, list[Mapping[str, Any]]]:
    """Return for each neuron up to `count` explanations of others that are held against it, in turn.

    They are a seeded draw among the first explanations of other neurons whose texts differ from its own and
    from each other, and whose explainer has seen nothing of what the neuron is tested on. `usable` are one
    explainer's explanations with a text.
    """
    first: dict[Neuron, Mapping[str, Any]] = {}
    for explanation in usable:
        first.setdefault((explanation["neuron"], explanation["polarity"]), explanation)
    chosen: dict[Neuron, list[Mapping[str, Any]]] = {}
    for neuron, explanation in first.items():
        # The same neuron's other side is not foreign, and an equal text would score as the own one does.
        foreign = [other for (number, _), other in first.items() if number != neuron[0]]
        random.Random(f"controls {seed} {neuron}").shuffle(foreign)  # noqa: S311 - a seeded draw
        texts, found = {explanation["text"]}, list[Mapping[str, Any]]()
        for other in foreign:
            if len(found) < count and other["text"] not in texts and unseen(other, neuron):
                texts.add(other["text"])
                found.append(other)
        if found:
            chosen[neuron] = found
    return chosen


def held_controls(
    explanations: pl.DataFrame, rows: pl.DataFrame, source: str
) -> dict[tuple[str, str, Neuron], list[str]]:
    """Return which explanations were controls, by explainer, source and neuron, in a table made with any.

    `rows` hold explanations against neurons; their column `source` names the simulator or scorer. One held
    against a neuron that it does not explain is a control.
    """
    columns = explanations.select("explanation_id", "explainer", "neuron", "polarity")
    owners = {row[0]: (row[1], (row[2], row[3])) for row in columns.iter_rows()}
    controls: dict[tuple[str, str, Neuron], list[str]] = {}
    held = rows.select("explanation_id", source, "neuron", "polarity").unique(maintain_order=True)
    for explanation_id, name, *place in held.iter_rows():
        explainer, owner = owners[explanation_id]
        neuron = (place[0], place[1])
        if owner != neuron:
            controls.setdefault((explainer, name, neuron), []).append(explanation_id)
    return controls
