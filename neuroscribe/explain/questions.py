"""What a layer's explainers ask an LLM: one prompt a candidate, or several that make one explanation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.auto import Auto
from neuroscribe.explain.explainer import Asking, Before, Drawing, Explaining, Shown
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Request, turns
from neuroscribe.ports.replies import as_text
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.spec import Study

_ANSWERS = 3
"""Raise when the code that asks or reads changes what the same prompt is answered with."""


@dataclass(frozen=True)
class Question:
    """One prompt about one neuron; without messages there is nothing to ask. Fulfils `llm.calls.Question`."""

    neuron: Neuron
    explainer: str
    spec: ExplainerSpec
    shown: Shown = field(default_factory=Shown)
    sample_index: int = 0
    draw: int = 0
    """Of exemplars; what is published is written from draw 0."""
    sample: str = "random"
    """How the neuron was drawn."""
    form: str = ""
    """Which of its forms of asking the explainer uses, where it has several."""
    is_puzzle: bool = False
    """Whether it is asked to try a form, and about no neuron of the study."""

    @property
    def prompt_sha256(self) -> str:
        """Hash of the prompt as sent."""
        return fingerprint(turns(self.shown.messages))

    def key(self, identity: str) -> str:
        """Return the key under which the answer of a model, by its identity, is stored."""
        assert isinstance(self.spec, Asking), "only what is asked has a key"
        return answer_key(self.spec, identity, self.prompt_sha256, self.sample_index)

    @property
    def n_calls(self) -> int:
        """One, and none where there is nothing to ask."""
        return int(bool(self.shown.messages))

    def requests(self) -> list[Request]:
        """Return the prompt, and how long its answer may be."""
        limit = self.spec.answer_tokens if isinstance(self.spec, Asking) else 0
        return [(as_text(self.shown.messages), limit)]

    @property
    def makes(self) -> tuple[Neuron, int, int]:
        """The explanation that its answer is, or is a part of."""
        return self.neuron, self.sample_index, self.draw


def answer_key(spec: Asking, identity: str, prompt_sha256: str, sample_index: int) -> str:
    """Return the key under which a model's answer to a prompt is stored."""
    decoding = (spec.temperature, spec.answer_tokens, sample_index, spec.answer)
    return fingerprint("explanation", _ANSWERS, identity, prompt_sha256, *decoding)


def explaining_order(study: Study) -> tuple[str, ...]:
    """Return the study's explainers in its order, but each after those that it builds on."""
    placed: list[str] = []

    def place(name: str) -> None:
        for other in study.explainers[name].builds_on:
            place(other)
        if name not in placed:
            placed.append(name)

    for name in study.explainers:
        place(name)
    return tuple(placed)


def explaining(study: Study, name: str) -> Explaining:
    """Return the settings of an explainer of the study."""
    spec = study.explainers[name]
    assert isinstance(spec, Explaining), "every kind of explainer derives from Explaining"
    return spec


def questions(evidence: LayerEvidence, name: str, before: Before) -> list[Question]:
    """Return what an explainer asks of a layer: the candidates of a neuron side by side, a mute one once.

    Then what it asks from further draws of exemplars. None for an explainer that needs no LLM.
    """
    spec, form = explaining(evidence.study, name), ""
    if isinstance(spec, Auto):
        form = before.form or spec.forms[0]
        spec = spec.asking(form)
    if not isinstance(spec, Asking):
        return []
    every: list[Question] = []
    for neuron in spec.neurons(evidence):
        parts = spec.shown_apart(evidence, neuron, before)
        candidates = range(spec.candidates if any(shown.messages for shown in parts) else 1)
        sample = evidence.drawn_as(neuron)
        every += [
            Question(neuron, name, spec, shown, index, sample=sample, form=form)
            for index in candidates
            for shown in parts
        ]
    return every if form else [*every, *_redrawn(evidence, name, spec)]


def _redrawn(evidence: LayerEvidence, name: str, spec: Asking) -> Iterator[Question]:
    """Yield what an explainer that shows exemplars asks of the neurons by which its stability is told."""
    if isinstance(spec, Drawing):
        for neuron in evidence.redrawn_neurons:
            for draw in range(1, spec.draws):
                shown = spec.shown_from(evidence, neuron, draw=draw)
                yield Question(neuron, name, spec, shown, draw=draw, sample=evidence.drawn_as(neuron))


def before(study: Study, name: str, made: Mapping[str, Sequence[Mapping[str, Any]]], **opened: Any) -> Before:
    """Return what there is before an explainer begins: of what was `made`, what it builds on."""
    return Before({other: made[other] for other in study.explainers[name].builds_on}, **opened)
