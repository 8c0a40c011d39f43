"""Simulates every explanation on sequences its explainer never saw, and on another neuron's as a control."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from neuroscribe.calls import InFlight, answered_once, worked_through
from neuroscribe.corpus import token_bytes_by_sequence
from neuroscribe.errors import LLMError
from neuroscribe.exemplars import Neuron, by_neuron, scored_exemplars
from neuroscribe.explain.specs import Asking
from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports import CallStore, Progress, Simulated, Simulator, Usage
from neuroscribe.records import SIMULATIONS
from neuroscribe.studies import Study

_ANSWERS = 2
"""Raise when the code that asks or reads changes what the same prompt is answered with."""


async def layer_simulations(
    study: Study,
    tables: "SimulatedTables",
    *,
    simulators: Mapping[str, Simulator],
    calls: CallStore,
    progress: Progress,
) -> pl.DataFrame:
    """Return the SIMULATIONS of one layer's explanations by every simulator of the study."""
    tasks = {
        name: simulation_tasks(study, tables.explanations, tables.records, spec.explainers)
        for name, spec in study.simulators.items()
    }
    ids = {sequence for own in tasks.values() for task in own for sequence in task.sequence_ids}
    tokens = token_bytes_by_sequence(tables.sequences, tables.vocabulary, ids)
    return await simulated(study, tasks, tokens, simulators=simulators, calls=calls, progress=progress)


@dataclass(frozen=True)
class SimulatedTables:
    """One layer's tables, as its simulators read them."""

    sequences: pl.DataFrame
    vocabulary: pl.DataFrame
    records: pl.DataFrame
    explanations: pl.DataFrame


@dataclass(frozen=True)
class Task:
    """One explanation to be simulated on some exemplars of one neuron."""

    explanation_id: str
    text: str
    neuron: Neuron
    split: str
    sequence_ids: tuple[int, ...]


def simulation_tasks(
    study: Study, explanations: pl.DataFrame, records: pl.DataFrame, explainers: Sequence[str]
) -> list[Task]:
    """Return what is to be simulated: each explanation on its own neuron, then on the control's.

    No explanation is simulated on a sequence that its explainer saw.
    """
    rows = by_neuron(records)
    tasks: list[Task] = []
    for explainer in explainers:
        usable = explanations.filter((pl.col("explainer") == explainer) & (pl.col("status") == "ok"))
        usable = usable.sort("neuron", "polarity", "sample_index")
        for own in usable.iter_rows(named=True):
            neuron = (own["neuron"], own["polarity"])
            for split in scored_splits(study, explainer):
                for ids in _units(study, rows[neuron], split):
                    tasks.append(Task(own["explanation_id"], own["text"], neuron, split, ids))
        neurons = dict.fromkeys(usable.select("neuron", "polarity").iter_rows())
        tested = {neuron: list(_units(study, rows[neuron], "test")) for neuron in neurons}
        for neuron, other in controls(usable, tested).items():
            for ids in tested[neuron]:
                tasks.append(Task(other["explanation_id"], other["text"], neuron, "test", ids))
    return tasks


def scored_splits(study: Study, explainer: str) -> tuple[str, ...]:
    """Return the splits that are scored: `valid` only serves to choose among candidates."""
    spec = study.explainers[explainer]
    several = isinstance(spec, Asking) and spec.candidates > 1
    return ("valid", "test") if several else ("test",)


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


async def simulated(
    study: Study,
    tasks: Mapping[str, Sequence[Task]],
    tokens: Mapping[int, Sequence[bytes]],
    *,
    simulators: Mapping[str, Simulator],
    calls: CallStore,
    progress: Progress,
) -> pl.DataFrame:
    """Return the simulations of every task by every simulator that has tasks.

    `tokens` are the token bytes of every sequence. Calls answered in an earlier run are read from `calls`.
    """
    rows: list[dict[str, Any]] = []
    for name, own in tasks.items():
        simulator = simulators[name]
        pieces = [piece for task in own for piece in _pieces(task, simulator.sequences_per_call)]
        with progress.task(f"simulate {study.name} with {name}", total=len(pieces), unit="calls") as advance:
            about = {
                "stage": "simulation",
                "model": simulator.identity,
                "study": study.name,
                "of_calls": getattr(simulator, "keeps_calls", False),
            }
            kept = {"calls": calls, "in_flight": {}, "about": about}
            ask = partial(_read, simulator, tokens=tokens, advance=advance, **kept)
            read = await worked_through(pieces, ask, at_once=simulator.calls_at_once)
            for piece, readings in zip(pieces, read, strict=True):
                rows += _rows(piece, readings, name, simulator.identity)
    return SIMULATIONS.frame(rows)


def _units(study: Study, rows: pl.DataFrame, split: str) -> Iterator[tuple[int, ...]]:
    """Yield a neuron's top sequences of a split, then its random ones: the latter recur among neurons."""
    exemplars = scored_exemplars(
        rows, split, per_kind=study.scoring.sequences_per_split, polarities=study.polarities
    )
    for kind in ("top", "random"):
        pairs = zip(exemplars.sequence_ids, exemplars.kinds, strict=True)
        if ids := tuple(sequence for sequence, own in pairs if own == kind):
            yield ids


def _pieces(task: Task, size: int) -> Iterator[Task]:
    for start in range(0, len(task.sequence_ids), size):
        ids = task.sequence_ids[start : start + size]
        yield Task(task.explanation_id, task.text, task.neuron, task.split, ids)


async def _read(
    simulator: Simulator,
    task: Task,
    *,
    tokens: Mapping[int, Sequence[bytes]],
    calls: CallStore,
    in_flight: InFlight,
    about: Mapping[str, Any],
    advance: Any,
) -> list[Simulated]:
    sequences = [tokens[sequence] for sequence in task.sequence_ids]
    key = reading_key(simulator.identity, task.text, sequences)

    async def call() -> dict[str, Any]:
        readings = await simulator.simulate(task.text, sequences)
        _check_readings(simulator, readings, sequences)
        return {"readings": [vars(reading) | {"usage": vars(reading.usage)} for reading in readings]}

    answer = await answered_once(key, calls, call, keep=_is_kept, in_flight=in_flight, about=about)
    advance(1)
    return [_reading(**one) for one in answer["readings"]]


def reading_key(simulator: str, text: str, sequences: Sequence[Sequence[bytes]]) -> str:
    """Return the key under which a simulator's readings, by its identity, under a text are stored."""
    return fingerprint("simulation", _ANSWERS, simulator, text, sequences)


def _reading(*, activations: Sequence[float], usage: dict[str, Any], **rest: Any) -> Simulated:
    """Return a reading as it was stored."""
    return Simulated(activations=tuple(activations), usage=Usage(**usage), **rest)


def _is_kept(answer: Mapping[str, Any]) -> bool:
    """Tell whether asking again would give the same answer.

    What was refused, cut off or is unreadable was answered so at temperature 0 and is kept; what failed is
    not, so that a server's bad day is not kept for good.
    """
    return all(one["status"] != "failed" for one in answer["readings"])


def _check_readings(
    simulator: Simulator, readings: Sequence[Simulated], sequences: Sequence[Sequence[bytes]]
) -> None:
    """Refuse readings of another shape before they are stored; raises LLMError."""
    found = [len(reading.activations) for reading in readings]
    wanted = [len(sequence) for sequence in sequences]
    if found != wanted:
        raise LLMError(
            f"simulator {simulator.identity}: read {found} tokens of sequences with {wanted}; this is a bug"
            " of the simulator, please report it"
        )


def _rows(task: Task, readings: Sequence[Simulated], name: str, identity: str) -> list[dict[str, Any]]:
    return [
        {
            "explanation_id": task.explanation_id,
            "neuron": task.neuron[0],
            "polarity": task.neuron[1],
            "sequence_id": sequence,
            "split": task.split,
            "simulated": list(reading.activations),
            "valid_fraction": reading.valid_fraction,
            "status": reading.status,
            "unmatched_words": reading.unmatched_words,
            **reading.usage.columns(),
            "simulator": name,
            "model": identity,
        }
        for sequence, reading in zip(task.sequence_ids, readings, strict=True)
    ]
