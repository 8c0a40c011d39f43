"""What is to be simulated: each explanation on sequences its explainer never saw, and on a control's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from neuroscribe.evidence.exemplars import Exemplars, Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Request
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.study.spec import Study

_ANSWERS = 3
"""Raise when the code that asks or reads changes what the same prompt is answered with."""


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
        """Return the task in parts of at most `size` sequences."""
        ids = self.sequence_ids
        return [replace(self, sequence_ids=ids[start : start + size]) for start in range(0, len(ids), size)]


@dataclass(frozen=True)
class Question:
    """The sequences of a task that a simulator reads together. Fulfils `llm.calls.Question`."""

    text: str
    """The explanation."""
    sequences: tuple[Sequence[bytes], ...]
    spec: Simulating

    def key(self, identity: str) -> str:
        """Return the key under which a simulator's readings, by its identity, are stored."""
        return fingerprint("simulation", _ANSWERS, identity, self.text, self.sequences)

    @property
    def n_calls(self) -> int:
        """As many as the simulator makes of each sequence."""
        return sum(self.spec.calls(len(tokens)) for tokens in self.sequences)

    def requests(self) -> list[Request]:
        """Return the prompts about all sequences."""
        return [request for tokens in self.sequences for request in self.spec.requests(self.text, tokens)]


def questions(evidence: LayerEvidence, simulator: str, *, size: int = 1) -> list[Question]:
    """Return what a simulator that reads `size` sequences together is asked about a layer."""
    spec = simulating(evidence.study, simulator)
    pieces = [piece for task in simulation_tasks(evidence, simulator) for piece in task.pieces(size)]
    return [question(piece, evidence.tokens, spec) for piece in pieces]


def question(piece: Task, tokens: Mapping[int, Sequence[bytes]], spec: Simulating) -> Question:
    """Return the question about all sequences of a task, whose `tokens` are given by sequence."""
    return Question(piece.text, tuple(tokens[sequence] for sequence in piece.sequence_ids), spec)


def simulating(study: Study, simulator: str) -> Simulating:
    """Return the settings of a simulator of the study."""
    spec = study.simulators[simulator]
    assert isinstance(spec, Simulating), "every kind of simulator derives from Simulating"
    return spec


def simulation_tasks(evidence: LayerEvidence, simulator: str) -> list[Task]:
    """Return what a simulator is asked: each explanation on its own neuron, then where it is the control.

    No explanation is simulated on a sequence that its explainer saw. Tasks of one text adjoin: their prompts
    begin alike, and servers read a beginning that they have just seen from their cache.
    """
    study = evidence.study
    tasks: list[Task] = []
    for explainer in study.simulators[simulator].explainers:
        splits = study.simulated_splits(explainer, simulator)
        tested: dict[Neuron, Exemplars] = {}
        for explanation in evidence.usable(explainer):
            neuron = (explanation["neuron"], explanation["polarity"])
            tested[neuron] = evidence.exemplars(neuron, "test")
            for split in splits:
                for ids in _units(evidence.exemplars(neuron, split)):
                    tasks.append(Task(explanation["explanation_id"], explanation["text"], neuron, split, ids))
        ids_tested = {neuron: exemplars.sequence_ids for neuron, exemplars in tested.items()}
        for neuron, other in evidence.controls(explainer, ids_tested).items():
            for ids in _units(tested[neuron]):
                tasks.append(
                    Task(other["explanation_id"], other["text"], neuron, "test", ids, is_control=True)
                )
    place = {text: place for place, text in enumerate(dict.fromkeys(task.text for task in tasks))}
    return sorted(tasks, key=lambda task: place[task.text])


def _units(exemplars: Exemplars) -> Iterator[tuple[int, ...]]:
    """Yield a neuron's top sequences of a split, then its random ones: the latter recur among neurons."""
    for kind in ("top", "random"):
        pairs = zip(exemplars.sequence_ids, exemplars.kinds, strict=True)
        if ids := tuple(sequence for sequence, its_kind in pairs if its_kind == kind):
            yield ids
