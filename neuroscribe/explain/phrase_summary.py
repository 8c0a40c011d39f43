"""The explainer `phrase_summary`: what the phrases that end where a neuron peaks have in common.

The shortest form that shows context. The packaged model of 1.5B parameters reads it as well as longer ones
(docs/decisions/0024).
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import shown_excerpts
from neuroscribe.explain.explainer import SILENT, Drawing, Shown
from neuroscribe.explain.wording import Wording, filled
from neuroscribe.study.sections import MOST, Positive
from neuroscribe.text.escaping import unforged
from neuroscribe.text.phrases import peak_phrase

PEAK = 9
"""Activation, of 10 at an excerpt's peak, from which another token of the excerpt counts as a peak, too."""


class PhraseSummary(Drawing):
    """An LLM's words for a neuron's peak phrases: short, for small models."""

    kind: Literal["phrase_summary"] = "phrase_summary"
    excerpts: Positive = Field(default=5, description="top excerpts of which the peak phrase is shown")
    before: Annotated[int, Field(ge=0, le=MOST)] = Field(default=2, description="words before the peak's own")
    bands: Annotated[int, Field(ge=0, le=MOST)] = Field(
        default=0, description="excerpts from the quantile bands, beside the top ones"
    )

    @property
    def banded_shown(self) -> int:
        """As many as the study asks for."""
        return self.bands

    def shown_from(self, evidence: LayerEvidence, neuron: Neuron, *, draw: int) -> Shown:
        """Return the phrases that end at its peaks, the strongest first, unless it fires in none."""
        length = evidence.study.corpus.sequence_length
        shown = shown_excerpts(
            evidence, neuron, self.excerpts, length, draw, scale="excerpt", bands=self.bands
        )
        phrases = [
            peak_phrase(evidence.tokens[sequence], place, self.before)
            for sequence, pairs in zip(shown.sequence_ids, shown.excerpts, strict=True)
            for place, (_, value) in enumerate(pairs)
            if value >= PEAK
        ]
        if not phrases:
            return Shown(shown.sequence_ids, (), SILENT)
        worked = [_question(self.words, example.shown["phrases"]) for example in self.words.examples]
        messages = self.words.messages(worked, _question(self.words, phrases), self.answer)
        return Shown(shown.sequence_ids, messages)


def _question(wording: Wording, phrases: Sequence[str]) -> str:
    """Return the question that lists some (escaped) phrases, no two alike."""
    # The number keeps corpus text from the beginning of a line, where headings and answers stand.
    lines = [f"{place}. {unforged(phrase)}" for place, phrase in enumerate(dict.fromkeys(phrases), start=1)]
    return filled(wording.question, phrases="\n".join(lines))
