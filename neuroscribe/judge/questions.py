"""What a judge is asked about a layer: each explanation with excerpts its explainer never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuroscribe.evidence.exemplars import Exemplars, Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.judge.excerpts import Excerpt
from neuroscribe.judge.judges import MAX_TOKENS, SimilarityJudge, excerpt_text, judgement_key
from neuroscribe.judge.judging import AskingJudge, Judging
from neuroscribe.judge.prompts import judging_messages
from neuroscribe.llm.calls import Request
from neuroscribe.ports.replies import Message, as_text


@dataclass(frozen=True)
class Question:
    """One explanation held against one excerpt. Fulfils `llm.calls.Question`."""

    explanation_id: str
    text: str
    neuron: Neuron
    split: str
    excerpt: Excerpt
    tokens: Sequence[bytes]
    """Those of the excerpt."""
    spec: Judging

    @property
    def marked(self) -> list[int]:
        """Places among the tokens that are marked."""
        return [place - self.excerpt.start for place in self.excerpt.marked]

    @property
    def messages(self) -> list[Message]:
        """The prompt; none for a scorer that asks no LLM."""
        if not isinstance(self.spec, AskingJudge):
            return []
        return judging_messages(self.spec.kind_name, self.text, self.tokens, self.marked)

    def key(self, identity: str) -> str:
        """Return the key under which a judge's answer, by its identity, is stored."""
        return judgement_key(identity, self.messages)

    @property
    def n_calls(self) -> int:
        """One, or none for an encoder."""
        return int(isinstance(self.spec, AskingJudge))

    def requests(self) -> list[Request]:
        """Return the prompt."""
        return [(as_text(self.messages), MAX_TOKENS)] if self.n_calls else []


def questions(evidence: LayerEvidence, name: str, near: SimilarityJudge | None = None) -> list[Question]:
    """Return each explanation with its neuron's excerpts, then with those of the neuron it is the control of.

    `near` finds silent excerpts that are near the firing ones, where the scorer wants such.
    """
    return _Asked(evidence, name, near).questions()


class _Asked:
    """The excerpts of one scorer, drawn once for each neuron and split."""

    def __init__(self, evidence: LayerEvidence, name: str, near: SimilarityJudge | None) -> None:
        spec = evidence.study.judging[name]
        assert isinstance(spec, Judging), "every kind of judge derives from Judging"
        self._evidence, self._name, self._spec, self._near = evidence, name, spec, near
        self._drawn: dict[tuple[Neuron, str, str], list[Excerpt]] = {}

    def questions(self) -> list[Question]:
        """Return what is asked of all explainers' explanations."""
        asked: list[Question] = []
        for explainer in self._spec.explainers:
            owners: dict[Neuron, Mapping[str, Any]] = {}
            for explanation in self._evidence.usable(explainer):
                owners.setdefault((explanation["neuron"], explanation["polarity"]), explanation)
                for split in self._evidence.study.scored_splits(explainer):
                    asked += self._about(explanation, explanation, split)
            controls = self._evidence.controls(explainer, count=1, tested_on=self._exemplars)
            for neuron, (control, *_) in controls.items():
                asked += self._about(control, owners[neuron], "test")
        return asked

    def _exemplars(self, owner: Mapping[str, Any], split: str = "test") -> Exemplars:
        return self._evidence.paper_exemplars(owner, split)

    def _about(self, explanation: Mapping[str, Any], owner: Mapping[str, Any], split: str) -> list[Question]:
        """Return an explanation with the excerpts of the neuron that the owner explains."""
        name, text = explanation["explanation_id"], explanation["text"]
        neuron = (owner["neuron"], owner["polarity"])
        return [
            Question(name, text, neuron, split, excerpt, self._tokens(excerpt), self._spec)
            for excerpt in self._excerpts(owner, split)
        ]

    def _excerpts(self, owner: Mapping[str, Any], split: str) -> list[Excerpt]:
        """Return the excerpts of a neuron of which the explainer of its explanation has seen nothing.

        Without firing and silent ones there is nothing to ask.
        """
        neuron = (owner["neuron"], owner["polarity"])
        key = (neuron, owner["explainer"], split)
        if key not in self._drawn:
            exemplars = self._exemplars(owner, split)
            seed = f"{self._evidence.study.scoring.seed} {self._name} {self._evidence.layer} {neuron} {split}"
            tokens = [self._evidence.tokens.ids[sequence] for sequence in exemplars.sequence_ids]
            nearest = self._nearest if self._near else None
            excerpts = self._spec.excerpts(exemplars, tokens, seed=seed, nearest=nearest)
            labels = {excerpt.label for excerpt in excerpts}
            self._drawn[key] = excerpts if labels == {True, False} else []
        return self._drawn[key]

    def _nearest(self, silent: Sequence[Excerpt], firing: Sequence[Excerpt]) -> list[Excerpt]:
        """Return silent excerpts by similarity to the nearest firing one."""
        near = self._near
        assert near is not None
        targets = [self._text(excerpt) for excerpt in firing]
        return sorted(
            silent,
            key=lambda excerpt: -max(near.similarity(self._text(excerpt), target) for target in targets),
        )

    def _tokens(self, excerpt: Excerpt) -> tuple[bytes, ...]:
        return self._evidence.tokens[excerpt.sequence_id][excerpt.start : excerpt.stop]

    def _text(self, excerpt: Excerpt) -> str:
        return excerpt_text(self._tokens(excerpt))
