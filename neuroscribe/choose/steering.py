"""The scorer `steering`: what the subject writes with a neuron amplified, told by its explanation.

As the output score of Gur-Arieh et al. 2025: which of three sets of continuations is the neuron's?
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from neuroscribe.choose.choosing import Choosing
from neuroscribe.choose.trials import Option, Trial
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.controls import CONTROLS
from neuroscribe.study.dues import AMPLIFIED
from neuroscribe.study.kinds import Half
from neuroscribe.study.sections import Positive

OTHERS = 2
"""Options beside the right one, so that guessing is right in one case of three."""


class Steering(Choosing):
    """Which of three sets of continuations was written with the described neuron amplified? (Gur-Arieh)."""

    measure: ClassVar[str] = "steering"
    regime: ClassVar[str] = AMPLIFIED
    half: ClassVar[Half] = "output"
    uses_effects: ClassVar[bool] = True

    kind: Literal["steering"] = "steering"
    questions: Positive = Field(
        default=5, description="questions about a neuron: each with other openings, and two other neurons"
    )

    @model_validator(mode="after")
    def names_explainers(self) -> "Steering":
        """Refuse a scorer that has nothing to ask under."""
        if not self.explainers:
            raise ValueError(
                "explainers names none; name explainers of the output half, such as promotes or output_tokens"
            )
        return self

    @property
    def controls(self) -> int:
        """How many other explanations a question is also asked under: one where that costs a call."""
        return 1 if self.judge == "llm" else CONTROLS

    def trials(self, evidence: LayerEvidence, name: str) -> Sequence[Trial]:
        """Return each explanation with what was written with its neuron and with two others amplified.

        Then, on `test`, the same options under explanations of neurons that are not among them.
        """
        return [
            trial
            for explainer in self.explainers
            for explanation in evidence.usable(explainer)
            for split in evidence.study.scored_splits(explainer)
            for trial in _Asked(evidence, self, name, explainer).about(explanation, split)
        ]


@dataclass(frozen=True)
class _Asked:
    """What one steering scorer asks of one explainer's explanations."""

    evidence: LayerEvidence
    spec: Steering
    name: str
    explainer: str

    def about(self, explanation: Mapping[str, Any], split: str) -> Iterator[Trial]:
        """Yield the questions under one explanation, each followed by its controls."""
        neuron = (explanation["neuron"], explanation["polarity"])
        for number, ranks in enumerate(self._openings(neuron, split)):
            others = self._others(neuron, split, number, ranks)
            if len(others) < OTHERS:
                continue
            asked = self._question(explanation, split, number, ranks, others[:OTHERS])
            yield asked
            if split == "test":
                for control in self._controls(explanation, others[OTHERS:]):
                    yield self._under(asked, control)

    def _openings(self, neuron: Neuron, split: str) -> list[list[int]]:
        """Return the openings of each question; no two questions, and no two splits, share one."""
        known = sorted(self.evidence.effects.continuations(neuron))
        splits = self.evidence.study.scored_splits(self.explainer)
        own = [rank for rank in known if rank % len(splits) == splits.index(split)]
        count = min(self.spec.questions, len(own))
        return [own[number::count] for number in range(count)]

    def _others(self, neuron: Neuron, split: str, number: int, ranks: Sequence[int]) -> list[Neuron]:
        """Return other neurons in a drawn order; only such as are told from the own one by some text."""
        effects = self.evidence.effects
        own = [effects.continuations(neuron)[rank] for rank in ranks]
        others = [
            other
            for other in effects.neurons
            if other[0] != neuron[0] and [effects.continuations(other)[rank] for rank in ranks] != own
        ]
        self._draw(neuron, split, number).shuffle(others)
        return others

    def _draw(self, neuron: Neuron, split: str, number: int) -> random.Random:
        place = (self.name, self.evidence.layer, neuron, split, number)
        return random.Random(f"steering {self.evidence.study.scoring.seed} {place}")  # noqa: S311 - seeded

    def _question(
        self,
        explanation: Mapping[str, Any],
        split: str,
        number: int,
        ranks: Sequence[int],
        others: Sequence[Neuron],
    ) -> Trial:
        neuron = (explanation["neuron"], explanation["polarity"])
        shown = [neuron, *others]
        random.Random(f"order {self._draw(neuron, split, number).random()}").shuffle(shown)  # noqa: S311
        return Trial(
            neuron,
            split,
            number,
            tuple(self._option(each, ranks) for each in shown),
            shown.index(neuron),
            self.spec.kind_name,
            explanation["explanation_id"],
            explanation["text"],
            _parts(explanation),
            is_asked=self.spec.judge == "llm",
        )

    def _option(self, neuron: Neuron, ranks: Sequence[int]) -> Option:
        said = self.evidence.effects.continuations(neuron)
        spelled = self.evidence.tokens.of_token
        texts = tuple(b"".join(spelled[token] for token in said[rank]) for rank in ranks)
        return Option(f"{neuron[0]}{'+' if neuron[1] > 0 else '-'}", texts)

    def _controls(self, explanation: Mapping[str, Any], others: Sequence[Neuron]) -> list[Mapping[str, Any]]:
        """Return explanations of other texts, each of another neuron that is not among the options."""
        first: dict[Neuron, Mapping[str, Any]] = {}
        for other in self.evidence.usable(self.explainer):
            first.setdefault((other["neuron"], other["polarity"]), other)
        held = [first[other] for other in others if other in first]
        return [other for other in held if other["text"] != explanation["text"]][: self.spec.controls]

    def _under(self, asked: Trial, control: Mapping[str, Any]) -> Trial:
        own = {"explanation_id": control["explanation_id"], "text": control["text"]}
        return replace(asked, **own, parts=_parts(control))


def _parts(explanation: Mapping[str, Any]) -> tuple[str, ...] | None:
    return None if explanation["parts"] is None else tuple(explanation["parts"])
