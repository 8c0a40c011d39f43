"""Simulates every explanation on sequences its explainer never saw, and on another neuron's as a control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from neuroscribe.errors import LLMError
from neuroscribe.evidence.exemplars import Neuron, by_neuron, scored_exemplars
from neuroscribe.evidence.tasks import Task, simulation_tasks
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import InFlight, answered_once, worked_through
from neuroscribe.ports.models import Simulator
from neuroscribe.ports.replies import Simulated, Usage
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.simulate.sequential import Ask, Sequentially, Truth, in_pieces
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import SIMULATIONS
from neuroscribe.text.corpus import token_bytes_by_sequence

_ANSWERS = 3
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
        name: simulation_tasks(study, tables.explanations, tables.records, name) for name in study.simulators
    }
    ids = {sequence for own in tasks.values() for task in own for sequence in task.sequence_ids}
    tokens = token_bytes_by_sequence(tables.sequences, tables.vocabulary, ids)
    truth = None if study.scoring.stop_width is None else _truth(study, tables.records, tasks)
    return await simulated(
        study, tasks, tokens, truth=truth, simulators=simulators, calls=calls, progress=progress
    )


@dataclass(frozen=True)
class SimulatedTables:
    """One layer's tables, as its simulators read them."""

    sequences: pl.DataFrame
    vocabulary: pl.DataFrame
    records: pl.DataFrame
    explanations: pl.DataFrame


async def simulated(
    study: Study,
    tasks: Mapping[str, Sequence[Task]],
    tokens: Mapping[int, Sequence[bytes]],
    *,
    truth: Truth | None = None,
    simulators: Mapping[str, Simulator],
    calls: CallStore,
    progress: Progress,
) -> pl.DataFrame:
    """Return the simulations of every task by every simulator that has tasks.

    `tokens` are the token bytes of every sequence, `truth` the activations that a study with a stop_width
    looks at. Calls answered in an earlier run are read from `calls`.
    """
    rows: list[dict[str, Any]] = []
    for name, own in tasks.items():
        simulator, size = simulators[name], simulators[name].sequences_per_call
        total = sum(len(task.sequence_ids) for task in own)
        with progress.task(f"simulate {study.name} with {name}", total=total, unit="sequences") as advance:
            about = {
                "stage": "simulation",
                "model": simulator.identity,
                "study": study.name,
                "of_calls": simulator.keeps_calls,
            }
            kept = {"calls": calls, "in_flight": {}, "about": about}
            ask = partial(_read, simulator, tokens=tokens, advance=advance, **kept)
            if study.scoring.stop_width is None:
                pieces = [piece for task in own for piece in task.pieces(size)]
                read = await worked_through(pieces, ask, at_once=simulator.calls_at_once)
                done = list(zip(pieces, read, strict=True))
            else:
                work = _sequentially(study, ask, simulator, truth or {}, advance)
                done = await work.readings(own)
        for piece, readings in done:
            rows += _rows(piece, readings, name, simulator.identity)
    return SIMULATIONS.frame(rows)


def _sequentially(study: Study, ask: Ask, simulator: Simulator, truth: Truth, advance: Any) -> Sequentially:
    """Return the way to work through tasks only as far as they have to be simulated."""
    size = simulator.sequences_per_call
    return Sequentially(
        partial(in_pieces, ask, size=size),
        truth,
        study.scoring,
        batch=max(2, size),
        at_once=simulator.calls_at_once,
        skip=lambda spared: advance(spared, note="stopped early" if spared else ""),
    )


def _truth(study: Study, records: pl.DataFrame, tasks: Mapping[str, Sequence[Task]]) -> Truth:
    """Return the activations of the neurons of all tasks on their sequences."""
    rows = by_neuron(records)
    asked = dict.fromkeys((task.neuron, task.split) for own in tasks.values() for task in own)
    found: dict[tuple[Neuron, int], Any] = {}
    for neuron, split in asked:
        per_kind, polarities = study.scoring.sequences_per_split, study.polarities
        shown = scored_exemplars(rows[neuron], split, per_kind=per_kind, polarities=polarities)
        found |= {(neuron, own): shown.truth[place] for place, own in enumerate(shown.sequence_ids)}
    return found


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

    def restored(answer: Mapping[str, Any]) -> list[Simulated]:
        readings = [_reading(**one) for one in answer["readings"]]
        if [len(reading.activations) for reading in readings] != [len(sequence) for sequence in sequences]:
            raise ValueError("readings of other sequences")
        return readings

    readings = await answered_once(
        key, calls, call, read=restored, keep=_is_kept, in_flight=in_flight, about=about
    )
    advance(len(readings))
    return readings


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
