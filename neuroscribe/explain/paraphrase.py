"""The explainer `paraphrase`: another explainer's texts in another model's words, as a guard.

Explainer and simulator may understand each other by words that say nothing to anybody else. What a text says
survives being put in other words by a third model; what only those two understand does not. The difference of
the two scores is reported (`neuroscribe/report/gaps.py`), for a seeded share of the neurons.
"""

import random
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.texts import read_texts
from neuroscribe.explain.derived import Derived, stated
from neuroscribe.explain.explainer import Before, Shown
from neuroscribe.explain.wording import Example, filled
from neuroscribe.study.kinds import LLMSection


class Paraphrase(Derived):
    """Another explainer's texts, put in other words by [paraphraser_llm]."""

    asks: ClassVar[LLMSection] = "paraphraser_llm"

    kind: Literal["paraphrase"] = "paraphrase"
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2, description="of a layer's neurons, those whose explanation is paraphrased: a seeded draw"
    )

    @model_validator(mode="after")
    def one_candidate(self) -> "Paraphrase":
        """To choose the best of several would make the guard milder."""
        if self.candidates > 1:
            raise ValueError(f"candidates = {self.candidates}: a paraphrase has one; remove it")
        return self

    @property
    def is_mark(self) -> bool:
        """Its texts are compared with those that they put in other words."""
        return True

    def neurons(self, evidence: LayerEvidence) -> Sequence[Neuron]:
        """Return a seeded share of the neurons, one at least, in their order."""
        every = list(evidence.neurons)
        draw = random.Random(f"paraphrase {evidence.study.sample.seed} {evidence.layer}")  # noqa: S311 - seeded
        drawn = set(draw.sample(every, min(len(every), max(1, round(self.share * len(every))))))
        return [neuron for neuron in every if neuron in drawn]

    def shown(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Shown:
        """Return the first of the prompts."""
        return self.shown_apart(evidence, neuron, before)[0]

    def shown_apart(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> tuple[Shown, ...]:
        """Return the prompt that shows the text; of senses, one for each."""
        first = before.text_of(self.of, neuron)
        if first is None:
            return (Shown(reason=self.without()),)
        seen = tuple(first["sequence_ids"])
        texts = read_texts(first, apart=evidence.study.explainers[self.of].asked_apart)
        return tuple(Shown(seen, self.asked(self._question(text)), unlike=text) for text in texts)

    def worked_question(self, example: Example) -> str:
        """Return the question of a worked example."""
        return self._question(example.shown["text"])

    def _question(self, text: str) -> str:
        return filled(self.words.question, text=stated(text))
