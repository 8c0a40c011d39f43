"""The explainer `phrases`: the words at a neuron's peaks with the words before them, read one by one.

Nothing is said in words of its own, and nothing is left out: what an LLM makes of the same exemplars is worth
its calls only where it scores higher (docs/decisions/0025).
"""

from itertools import chain, zip_longest
from typing import Annotated, Literal

from pydantic import Field

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import SILENT, Before, Listing, Said
from neuroscribe.explain.peaks import peak_phrases, shown_exemplars
from neuroscribe.study.sections import MOST, Positive
from neuroscribe.text.phrases import distinct, end_text, ends_text

BLANK = "it peaks on blanks alone"


class Phrases(Listing):
    """The peak phrases of the exemplars shown, without an LLM; a simulator takes the nearest of them."""

    kind: Literal["phrases"] = "phrases"
    words_before: Annotated[int, Field(ge=0, le=20)] = 2
    excerpts: Positive = Field(default=10, description="top exemplars of `train`, of those that there are")
    bands: Annotated[int, Field(ge=0, le=MOST)] = Field(
        default=12, description="exemplars of the quantile bands beside them, of those that there are"
    )
    places: Annotated[int, Field(ge=1, le=100)] = Field(
        default=5, description="tokens of an exemplar at which a phrase may end"
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="of an exemplar's peak, from which on a token ends a phrase"
    )
    most: Positive = Field(default=60, description="phrases that are read, first those at peaks")
    named: Positive = Field(default=12, description="of these the phrases that the text names")

    def said(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Said | str:
        """Return the phrases, those at the peaks of all exemplars first."""
        shown = shown_exemplars(evidence.records(neuron), excerpts=self.excerpts, bands=self.bands)
        by_exemplar = peak_phrases(
            evidence, neuron, shown, before=self.words_before, places=self.places, share=self.share
        )
        phrases = distinct(chain(*zip_longest(*by_exemplar, fillvalue="")))[: self.most]
        if not phrases:
            fires = (shown["peak"] * shown["polarity"] > 0).any() if len(shown) else False
            return BLANK if fires else SILENT
        text = ends_text(phrases[: self.named])
        if more := len(phrases[self.named :]):
            text += f" and {more} more"
        parts = tuple(end_text(phrase) for phrase in phrases)
        return Said(text, parts, tuple(shown["sequence_id"].to_list()))
