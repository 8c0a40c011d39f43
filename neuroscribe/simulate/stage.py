"""Simulates every explanation on sequences its explainer never saw, and on another neuron's as a control."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from neuroscribe.errors import LLMError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.llm.calls import Form, Once, worked_through
from neuroscribe.llm.capabilities import check_llm
from neuroscribe.measures.controls import FIRST
from neuroscribe.ports.models import LLM, Simulator
from neuroscribe.ports.replies import Simulated, Usage
from neuroscribe.ports.sources import EncoderSource, LLMSource, Models
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.simulate.parts import largest
from neuroscribe.simulate.questions import Question, Task, piece_questions, simulating, simulation_tasks
from neuroscribe.simulate.sequential import Reading, Sequentially, in_pieces
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.simulate.standing import Standing
from neuroscribe.simulate.whole import nearness, ranked_out, whole_corpus
from neuroscribe.study.kinds import KindSpec, LLMSection
from neuroscribe.study.sections import LLM_NEEDS, Capability
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import SIMULATIONS

Readings = tuple[Simulated, ...]


async def simulated_layer(
    evidence: LayerEvidence, *, llm: LLMSource, encoders: EncoderSource, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the SIMULATIONS of one layer; models are opened only if a simulator of the study needs them.

    Raises CapabilityError or LLMError, before anything is spent, for a model that cannot do what is needed.
    """
    study = evidence.study
    simulators = await opened_simulators(study, llm=llm, encoders=encoders, calls=calls, progress=progress)
    near = nearness(evidence, encoders, progress)
    worse = ranked_out(evidence, whole_corpus(evidence, encoders, progress)) if _ranks(study) else ()
    tasks = {name: simulation_tasks(evidence, name, near, without=worse) for name in study.simulators}
    return await simulated(evidence, tasks, simulators=simulators, calls=calls, progress=progress)


def _ranks(study: Study) -> bool:
    return study.scoring.simulated_candidates is not None


async def opened_simulators(
    study: Study, *, llm: LLMSource, encoders: EncoderSource, calls: CallStore, progress: Progress
) -> Mapping[str, Simulator]:
    """Return the study's simulators by name, ready to be asked.

    Raises CapabilityError or LLMError, before anything is spent, for a model that cannot do what is needed.
    """
    model: LLM | None = None
    if needs := study.simulating_needs & LLM_NEEDS:
        model = llm.open(study.simulating_llm, progress=progress, beside=study.llm)
        await check_llm(study, model, needs, study.simulators.values())
    models = Models(model, encoders, calls, progress)
    return {name: simulating(study, name).simulator(models) for name in study.simulators}


async def check_models(
    study: Study, *, llm: LLMSource, encoders: EncoderSource, progress: Progress | None = None
) -> None:
    """Open every model that the study needs and ask it for a sample of what it will be asked for.

    Raises LLMError for a model that does not answer, and CapabilityError, naming the alternatives, for one
    that cannot do what an explainer, simulator or scorer needs.
    """
    to_explain, to_simulate = study.explaining_needs & LLM_NEEDS, study.simulating_needs & LLM_NEEDS
    explaining: list[KindSpec] = [*study.asking("llm").values()]
    reading = [*study.simulators.values(), *study.scorers.values()]
    if study.simulating_llm == study.llm:
        to_explain, to_simulate = to_explain | to_simulate, frozenset[Capability]()
        explaining = [*explaining, *reading]
    if to_explain:
        await check_llm(study, llm.open(study.llm, progress=progress), to_explain, explaining)
    if to_simulate:
        model = llm.open(study.simulating_llm, progress=progress, beside=study.llm)
        await check_llm(study, model, to_simulate, reading)
    if study.paraphraser_llm and (paraphrasing := study.asking("paraphraser_llm")):
        section: LLMSection = "paraphraser_llm"
        model = llm.open(study.paraphraser_llm, progress=progress, beside=study.llm, section=section)
        await check_llm(study, model, {"reply"}, paraphrasing.values())
    for spec in (simulating(study, name) for name in study.simulators):
        if spec.needs in LLM_NEEDS:
            spec.check(llm.open(study.simulating_llm, progress=progress, beside=study.llm))
    for encoder in study.encoders:
        encoders.open(encoder, progress=progress)


async def simulated(
    evidence: LayerEvidence,
    tasks: Mapping[str, Sequence[Task]],
    *,
    simulators: Mapping[str, Simulator],
    calls: CallStore,
    progress: Progress,
) -> pl.DataFrame:
    """Return the simulations of every task by every simulator that has tasks.

    Calls answered in an earlier run are read from `calls`.
    """
    study = evidence.study
    rows: list[dict[str, Any]] = []
    for name, wanted in tasks.items():
        simulator = simulators[name]
        about = {
            "stage": "simulation",
            "model": simulator.identity,
            "study": study.name,
            "of_calls": simulator.keeps_calls,
        }
        total = sum(len(task.sequence_ids) for task in wanted)
        with progress.task(f"simulate {study.name} with {name}", total=total, unit="sequences") as advance:
            reader = _Reader(evidence, simulator, simulating(study, name), Once(calls, about), advance)
            for piece, readings in await reader.readings(wanted):
                rows += _rows(piece, readings, name, simulator.identity)
    return SIMULATIONS.frame(rows)


@dataclass(frozen=True)
class _Reader:
    """Asks one simulator about tasks, and shows how far it has come."""

    evidence: LayerEvidence
    simulator: Simulator
    spec: Simulating
    once: Once
    advance: Callable[..., None]

    async def readings(self, tasks: Sequence[Task]) -> Sequence[Reading]:
        """Return the tasks, in pieces or as far as they have to be simulated, each with its readings."""
        own = [task for task in tasks if task.turn is None]
        if self.evidence.study.scoring.stop_width is None:
            done = await self._whole(own)
        else:
            shown = await self._whole([task for task in own if not task.is_drawn])
            done = [*shown, *await self._until_narrow([task for task in own if task.is_drawn], shown)]
        return [*done, *await self._controls([task for task in tasks if task.turn is not None], done)]

    async def _controls(self, tasks: Sequence[Task], own: Sequence[Reading]) -> list[Reading]:
        """Return the first controls of every neuron, and the others where none of these was as good."""
        if not tasks:
            return []
        first = await self._whole([task for task in tasks if (task.turn or 0) < FIRST])
        owners = self.evidence.tables["explanations"].select("explanation_id", "explainer").rows()
        standing = Standing(self.evidence, dict(owners), [*own, *first])
        others = [task for task in tasks if (task.turn or 0) >= FIRST]
        wanted = [task for task in others if not standing.is_beaten(task)]
        spared = sum(len(task.sequence_ids) for task in others) - sum(len(t.sequence_ids) for t in wanted)
        self.advance(spared, note="controls not needed" if spared else "")
        return [*first, *await self._whole(wanted)]

    async def _whole(self, tasks: Sequence[Task]) -> list[Reading]:
        """Return tasks in pieces of as many sequences as the simulator reads together."""
        pieces = [piece for task in tasks for piece in task.pieces(self.simulator.sequences_per_call)]
        read = await worked_through(pieces, self._read, at_once=self.simulator.calls_at_once)
        return list(zip(pieces, read, strict=True))

    async def _until_narrow(self, tasks: Sequence[Task], shown: Sequence[Reading]) -> list[Reading]:
        """Return drawn tasks as far as the interval of the score is not narrow yet."""
        size = self.simulator.sequences_per_call
        stopping = Sequentially(
            partial(in_pieces, self._read, size=size),
            self.evidence,
            batch=max(2, size),
            at_once=self.simulator.calls_at_once,
            skip=lambda spared: self.advance(spared, note="stopped early" if spared else ""),
        )
        return await stopping.readings(tasks, shown)

    async def _read(self, piece: Task) -> list[Simulated]:
        asked = piece_questions(piece, self.evidence.tokens, self.spec)
        readings = largest([await self._answer(each) for each in asked])
        self.advance(len(readings))
        return readings

    async def _answer(self, asked: Question) -> Readings:
        async def ask() -> Readings:
            each = [await self.simulator.simulate(text, asked.sequences) for text in asked.texts]
            for readings in each:
                _check_readings(self.simulator, readings, asked.sequences)
            return tuple(largest(each))

        return await self.once.answer(asked.key(self.simulator.identity), ask, _form(asked))


def _form(asked: Question) -> Form[Readings]:
    """Return how readings of a question's sequences are stored.

    What was refused, cut off or is unreadable was answered so at temperature 0 and would be again; what
    failed is not kept, so that a server's bad day is not kept for good.
    """

    def plain(readings: Readings) -> dict[str, Any]:
        return {"readings": [vars(reading) | {"usage": vars(reading.usage)} for reading in readings]}

    def read(stored: Mapping[str, Any]) -> Readings:
        readings = tuple(_reading(**each) for each in stored["readings"])
        if [len(reading.activations) for reading in readings] != [len(tokens) for tokens in asked.sequences]:
            raise ValueError("readings of other sequences")
        return readings

    return Form(plain, read, lambda readings: all(reading.status != "failed" for reading in readings))


def _reading(*, activations: Sequence[float], usage: dict[str, Any], **rest: Any) -> Simulated:
    """Return a reading as it was stored."""
    return Simulated(activations=tuple(activations), usage=Usage(**usage), **rest)


def _check_readings(
    simulator: Simulator, readings: Sequence[Simulated], sequences: Sequence[Sequence[bytes]]
) -> None:
    """Refuse readings of another shape before they are stored; raises LLMError."""
    lengths = [len(reading.activations) for reading in readings]
    wanted = [len(sequence) for sequence in sequences]
    if lengths != wanted:
        raise LLMError(
            f"simulator {simulator.identity}: read {lengths} tokens of sequences with {wanted}; this is a bug"
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
            "stratum": task.strata.get(sequence, (None, None))[0],
            "stratum_size": task.strata.get(sequence, (None, None))[1],
            "status": reading.status,
            "unmatched_words": reading.unmatched_words,
            **reading.usage.columns(),
            "simulator": name,
            "model": identity,
        }
        for sequence, reading in zip(task.sequence_ids, readings, strict=True)
    ]
