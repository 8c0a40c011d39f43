"""What is to be simulated: each explanation on sequences its explainer never saw, and on a control's."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.exemplars import Exemplars, Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.texts import read_texts
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Request
from neuroscribe.measures.controls import CONTROLS
from neuroscribe.simulate.ranking import spared
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.study.spec import Study

Near = Callable[..., Float[np.ndarray, " sequence"]]
"""Tells how near each kept sequence is to the nearest of some texts."""
_ANSWERS = 3
"""Raise when the code that asks or reads changes what the same prompt is answered with."""


@dataclass(frozen=True)
class Task:
    """One explanation to be simulated on some sequences of one neuron."""

    explanation_id: str
    text: str
    neuron: Neuron
    split: str
    sequence_ids: tuple[int, ...]
    is_drawn: bool = False
    """Whether these are draws that serve the estimate over the corpus alone; see `strata` for the others."""
    turn: int | None = None
    """For another neuron's explanation, in which turn it is held against this one; None for the own one."""
    strata: Mapping[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    """Of the sequences that serve the estimate: stratum, and how many sequences of the population it has."""
    parts: tuple[str, ...] = ()
    """Texts that are read one by one instead of `text`, of which the largest value counts."""

    def pieces(self, size: int) -> list["Task"]:
        """Return the task in parts of at most `size` sequences."""
        ids = self.sequence_ids
        return [replace(self, sequence_ids=ids[start : start + size]) for start in range(0, len(ids), size)]


@dataclass(frozen=True)
class Question:
    """The sequences of a task that a simulator reads together. Fulfils `llm.calls.Question`."""

    text: str
    """The explanation, or a part of one that is asked about by itself."""
    sequences: tuple[Sequence[bytes], ...]
    spec: Simulating
    parts: tuple[str, ...] = ()
    """What one that costs nothing reads in its place, one by one: an answer holds the largest values."""

    @property
    def texts(self) -> tuple[str, ...]:
        """What is read one by one."""
        return self.parts or (self.text,)

    def key(self, identity: str) -> str:
        """Return the key under which a simulator's readings, by its identity, are stored."""
        read = self.parts or self.text
        return fingerprint("simulation", _ANSWERS, identity, read, self.sequences)

    @property
    def n_calls(self) -> int:
        """As many as the simulator makes of each sequence."""
        return sum(self.spec.calls(len(tokens)) for tokens in self.sequences)

    def requests(self) -> list[Request]:
        """Return the prompts about all sequences."""
        return [request for tokens in self.sequences for request in self.spec.requests(self.text, tokens)]


def questions(evidence: LayerEvidence, simulator: str, *, size: int = 1) -> list[Question]:
    """Return what a simulator that reads `size` sequences together is asked about a layer, at most.

    All controls are among them; a run asks for most of these only where the first were not as good. Which
    sequences are near a label is not known here; others stand for them, of as many in each stratum.
    """
    spec = simulating(evidence.study, simulator)
    near = _alike_near(evidence) if evidence.study.encoders else None
    # Which texts are the best is not known either; the first stand for them.
    tasks = simulation_tasks(evidence, simulator, near, without=spared(evidence, lambda _: 0.0))
    pieces = [piece for task in tasks for piece in task.pieces(size)]
    return [asked for piece in pieces for asked in piece_questions(piece, evidence.tokens, spec)]


def _alike_near(evidence: LayerEvidence) -> Near:
    return lambda *_: np.zeros(len(evidence.kept_ids))


def piece_questions(
    piece: Task, tokens: Mapping[int, Sequence[bytes]], spec: Simulating
) -> tuple[Question, ...]:
    """Return the questions about all sequences of a task, whose `tokens` are given by sequence.

    There is one for each part of the explanation; one alone where reading costs nothing.
    """
    sequences = tuple(tokens[sequence] for sequence in piece.sequence_ids)
    if spec.costs_nothing:
        return (Question(piece.text, sequences, spec, piece.parts),)
    return tuple(Question(text, sequences, spec) for text in piece.parts or (piece.text,))


def simulating(study: Study, simulator: str) -> Simulating:
    """Return the settings of a simulator of the study."""
    spec = study.simulators[simulator]
    assert isinstance(spec, Simulating), "every kind of simulator derives from Simulating"
    return spec


def simulation_tasks(
    evidence: LayerEvidence,
    simulator: str,
    near: Near | None = None,
    *,
    without: Collection[str] = (),
) -> list[Task]:
    """Return what a simulator is asked: each explanation on its own neuron, then where it is a control.

    No explanation is simulated on a document that its explainer saw. Tasks of one text adjoin: their prompts
    begin alike, and servers read a beginning that they have just seen from their cache. `near` finds
    sequences near a label; without it there is no such stratum. Explanations whose ids are in `without` are
    no simulator's that is asked: see `simulate.ranking`.
    """
    tasks: list[Task] = []
    spec = simulating(evidence.study, simulator)
    for explainer in spec.explainers:
        made: list[Task] = []
        own = [
            row
            for row in read(evidence, simulator, evidence.usable(explainer))
            if spec.costs_nothing or row["explanation_id"] not in without
        ]
        for explanation in own:
            made += _own_tasks(evidence, simulator, explanation, near)
        again = evidence.redrawn(explainer) if reads_again(evidence, simulator, explainer) else ()
        for explanation in read(evidence, simulator, again):
            made += _drawn_tasks(evidence, simulator, explanation, "test", near, shown=())
        made += _control_tasks(evidence, explainer, {(row["neuron"], row["polarity"]) for row in own})
        parts = _parts(evidence, simulator, explainer)
        tasks += [replace(task, parts=parts.get(task.explanation_id, ())) for task in made]
    place = {text: place for place, text in enumerate(dict.fromkeys(task.text for task in tasks))}
    return sorted(tasks, key=lambda task: place[task.text])


def read(
    evidence: LayerEvidence, simulator: str, explanations: Iterable[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the explanations of the neurons that a simulator reads."""
    for explanation in explanations:
        if evidence.is_read((explanation["neuron"], explanation["polarity"]), simulator):
            yield explanation


def _parts(evidence: LayerEvidence, simulator: str, explainer: str) -> dict[str, tuple[str, ...]]:
    """Return what a simulator reads one by one in the place of a text, by explanation."""
    rows = [*evidence.usable(explainer), *evidence.redrawn(explainer)]
    read = {row["explanation_id"]: texts_for(evidence.study, simulator, row) for row in rows if row["parts"]}
    whole = {row["explanation_id"]: (row["text"],) for row in rows}
    return {identity: texts for identity, texts in read.items() if texts != whole[identity]}


def texts_for(study: Study, simulator: str, explanation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts of an explanation that a simulator reads one by one: its parts, or its text."""
    spec = simulating(study, simulator)
    asked = study.explainers[explanation["explainer"]].asked_apart
    return read_texts(explanation, apart=spec.reads_parts if spec.costs_nothing else asked)


def reads_again(evidence: LayerEvidence, simulator: str, explainer: str) -> bool:
    """Tell whether a simulator scores what is explained again from other exemplars.

    Where one that costs nothing reads these in the layer, those that are asked are spared.
    """
    free = [
        name
        for name, spec in evidence.study.simulators.items()
        if explainer in spec.explainers and spec.costs_nothing and spec.reads_all(evidence.layer)
    ]
    return simulator in free or not free


def _own_tasks(
    evidence: LayerEvidence, simulator: str, explanation: Mapping[str, Any], near: Near | None
) -> list[Task]:
    """Return an explanation on its neuron's exemplars, then on the draws that are not among them.

    Where `valid` serves to fit values alone, its exemplars may be draws for `test`, and count as that.
    """
    study, explainer = evidence.study, explanation["explainer"]
    splits, scored = study.simulated_splits(explainer, simulator), study.scored_splits(explainer, simulator)
    shown = {split: evidence.paper_exemplars(explanation, split) for split in splits}
    asked = [sequence for exemplars in shown.values() for sequence in exemplars.sequence_ids]
    drawn = [
        task
        for split in scored
        for task in _drawn_tasks(evidence, simulator, explanation, split, near, shown=asked)
    ]
    strata = {task.split: task.strata for task in drawn}
    home = {sequence: split for split, own in strata.items() for sequence in own}
    units = [(split, ids) for split, exemplars in shown.items() for ids in _units(exemplars)]
    parts = [
        (place, tuple(sequence for sequence in ids if home.get(sequence, split) == place))
        for split, ids in units
        for place in splits
    ]
    plain = [_task(explanation, place, ids, strata=strata.get(place, {})) for place, ids in parts if ids]
    return [*plain, *(task for task in drawn if task.sequence_ids)]


def _drawn_tasks(
    evidence: LayerEvidence,
    simulator: str,
    explanation: Mapping[str, Any],
    split: str,
    near: Near | None,
    *,
    shown: Sequence[int],
) -> list[Task]:
    """Return an explanation on its draws, but those `shown` already; none where all cost nothing."""
    if simulating(evidence.study, simulator).costs_nothing:
        return []
    draws = evidence.draws(explanation, split, near)
    population = evidence.population(explanation, split)
    ids: list[int] = population.sequence_ids[draws.places].tolist()
    strata = dict(zip(ids, zip(draws.strata, draws.sizes, strict=True), strict=True))
    left = tuple(sequence for sequence in ids if sequence not in shown)
    return [_task(explanation, split, left, strata=strata, is_drawn=True)] if ids else []


def _control_tasks(evidence: LayerEvidence, explainer: str, read: Collection[Neuron]) -> list[Task]:
    """Return what is held, in turn, against each neuron of which an explainer's texts are read."""
    owners: dict[Neuron, Mapping[str, Any]] = {}
    for explanation in evidence.usable(explainer):
        owners.setdefault((explanation["neuron"], explanation["polarity"]), explanation)
    return [
        _task(control, "test", ids, neuron=neuron, turn=turn)
        for neuron, others in evidence.controls(explainer, count=CONTROLS).items()
        if neuron in read
        for turn, control in enumerate(others)
        for ids in _units(evidence.control_exemplars(owners[neuron]))
    ]


def _task(
    explanation: Mapping[str, Any],
    split: str,
    sequence_ids: tuple[int, ...],
    *,
    neuron: Neuron | None = None,
    **rest: Any,
) -> Task:
    own = (explanation["neuron"], explanation["polarity"])
    return Task(
        explanation["explanation_id"], explanation["text"], neuron or own, split, sequence_ids, **rest
    )


def _units(exemplars: Exemplars) -> Iterator[tuple[int, ...]]:
    """Yield a neuron's top sequences of a split, then its random ones: the latter recur among neurons."""
    for kind in ("top", "random"):
        pairs = zip(exemplars.sequence_ids, exemplars.kinds, strict=True)
        if ids := tuple(sequence for sequence, its_kind in pairs if its_kind == kind):
            yield ids
