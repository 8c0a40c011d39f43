"""Controls: another neuron's explanation held against this neuron, as a mark of what any text would score."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.evidence.exemplars import Neuron


def controls(
    usable: Sequence[Mapping[str, Any]], tested: Mapping[Neuron, Sequence[int]]
) -> dict[Neuron, Mapping[str, Any]]:
    """Return for each neuron the explanation that serves as its control, if there is one.

    It is the first explanation of the next neuron, in order, whose text differs and whose explainer saw none
    of the sequences on which this neuron is tested. `usable` are an explainer's explanations with a text.
    """
    first: dict[Neuron, Mapping[str, Any]] = {}
    for explanation in usable:
        first.setdefault((explanation["neuron"], explanation["polarity"]), explanation)
    order = list(first.values())
    chosen: dict[Neuron, Mapping[str, Any]] = {}
    for place, (neuron, explanation) in enumerate(first.items()):
        # Round from the next one, so that no explanation serves as everybody's control.
        for other in order[place + 1 :] + order[:place]:
            # The same neuron's other side is not foreign, and an equal text would score as the own one does.
            is_foreign = other["text"] != explanation["text"] and other["neuron"] != neuron[0]
            if is_foreign and set(tested[neuron]).isdisjoint(other["sequence_ids"]):
                chosen[neuron] = other
                break
    return chosen


def held_controls(
    explanations: pl.DataFrame, rows: pl.DataFrame, source: str
) -> dict[tuple[str, str, Neuron], str]:
    """Return which explanation was the control, by explainer, source and neuron, in a table made with any.

    `rows` hold explanations against neurons; their column `source` names the simulator or scorer. One held
    against a neuron that it does not explain is a control.
    """
    columns = explanations.select("explanation_id", "explainer", "neuron", "polarity")
    owners = {row[0]: (row[1], (row[2], row[3])) for row in columns.iter_rows()}
    controls: dict[tuple[str, str, Neuron], str] = {}
    held = rows.select("explanation_id", source, "neuron", "polarity").unique(maintain_order=True)
    for explanation_id, name, *place in held.iter_rows():
        explainer, owner = owners[explanation_id]
        neuron = (place[0], place[1])
        if owner != neuron:
            controls.setdefault((explainer, name, neuron), explanation_id)
    return controls
