"""What is to be simulated: each explanation on sequences its explainer never saw, and on a control's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from neuroscribe.evidence.exemplars import Neuron, by_neuron, scored_exemplars
from neuroscribe.study.explainers import Asking
from neuroscribe.study.spec import Study


@dataclass(frozen=True)
class Task:
    """One explanation to be simulated on some exemplars of one neuron."""

    explanation_id: str
    text: str
    neuron: Neuron
    split: str
    sequence_ids: tuple[int, ...]
    is_control: bool = False
    """Whether the explanation is another neuron's."""

    def pieces(self, size: int) -> list["Task"]:
        """Return the task in parts of at most so many sequences."""
        ids = self.sequence_ids
        return [replace(self, sequence_ids=ids[start : start + size]) for start in range(0, len(ids), size)]


def simulation_tasks(
    study: Study, explanations: pl.DataFrame, records: pl.DataFrame, simulator: str
) -> list[Task]:
    """Return what a simulator is asked: each explanation on its own neuron, then where it is the control.

    No explanation is simulated on a sequence that its explainer saw. Tasks of one text adjoin: their prompts
    begin alike, and servers read a beginning that they have just seen from their cache.
    """
    rows = by_neuron(records)
    tasks: list[Task] = []
    for explainer in study.simulators[simulator].explainers:
        usable = usable_explanations(explanations, explainer)
        for own in usable.iter_rows(named=True):
            neuron = (own["neuron"], own["polarity"])
            for split in simulated_splits(study, explainer, simulator):
                for ids in _units(study, rows[neuron], split):
                    tasks.append(Task(own["explanation_id"], own["text"], neuron, split, ids))
        neurons = dict.fromkeys(usable.select("neuron", "polarity").iter_rows())
        tested = {neuron: list(_units(study, rows[neuron], "test")) for neuron in neurons}
        for neuron, other in controls(usable, tested).items():
            for ids in tested[neuron]:
                tasks.append(
                    Task(other["explanation_id"], other["text"], neuron, "test", ids, is_control=True)
                )
    place = {text: place for place, text in enumerate(dict.fromkeys(task.text for task in tasks))}
    return sorted(tasks, key=lambda task: place[task.text])


def usable_explanations(explanations: pl.DataFrame, explainer: str) -> pl.DataFrame:
    """Return an explainer's explanations that have a text, by neuron, polarity and candidate."""
    usable = explanations.filter((pl.col("explainer") == explainer) & (pl.col("status") == "ok"))
    return usable.sort("neuron", "polarity", "sample_index")


def scored_splits(study: Study, explainer: str) -> tuple[str, ...]:
    """Return the splits that are scored: `valid` only serves to choose among candidates."""
    spec = study.explainers[explainer]
    several = isinstance(spec, Asking) and spec.candidates > 1
    return ("valid", "test") if several else ("test",)


def simulated_splits(study: Study, explainer: str, simulator: str) -> tuple[str, ...]:
    """Return the splits that are simulated: `valid` also where simulated values are fitted to the truth."""
    return ("valid", "test") if simulator in study.fitted_simulators else scored_splits(study, explainer)


def controls(
    usable: pl.DataFrame, tested: Mapping[Neuron, Sequence[tuple[int, ...]]]
) -> dict[Neuron, dict[str, Any]]:
    """Return for each neuron the explanation that serves as its control, if there is one.

    It is the first explanation of the next neuron, in order, whose text differs and whose explainer saw none
    of the sequences on which this neuron is tested.
    """
    first = usable.unique(["neuron", "polarity"], keep="first", maintain_order=True).to_dicts()
    found: dict[Neuron, dict[str, Any]] = {}
    for place, own in enumerate(first):
        neuron = own["neuron"], own["polarity"]
        sequences = {sequence for ids in tested.get(neuron, ()) for sequence in ids}
        for other in first[place + 1 :] + first[:place]:
            foreign = other["text"] != own["text"] and other["neuron"] != own["neuron"]
            if foreign and sequences.isdisjoint(other["sequence_ids"]):
                found[neuron] = other
                break
    return found


def _units(study: Study, rows: pl.DataFrame, split: str) -> Iterator[tuple[int, ...]]:
    """Yield a neuron's top sequences of a split, then its random ones: the latter recur among neurons."""
    exemplars = scored_exemplars(
        rows, split, per_kind=study.scoring.sequences_per_split, polarities=study.polarities
    )
    for kind in ("top", "random"):
        pairs = zip(exemplars.sequence_ids, exemplars.kinds, strict=True)
        if ids := tuple(sequence for sequence, own in pairs if own == kind):
            yield ids
