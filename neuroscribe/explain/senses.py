"""The explainer `senses`: an explanation for each cluster of a neuron's exemplars; the nearest counts.

Several texts predict more than one even where they are of no different senses, as the maximum over any
several does. So what clusters are worth is told by as many random groups of the same sizes, which have to
stand beside them in the study (docs/decisions/0025).
"""

import random
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from jaxtyping import Int
from pydantic import Field, model_validator

from neuroscribe.evidence.encoded import end_vector
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import excerpts_of
from neuroscribe.explain.explainer import SILENT, Before, Shown
from neuroscribe.explain.marking import NOTHING, Beside, Marking
from neuroscribe.explain.pairs import Excerpts
from neuroscribe.explain.peaks import peak_phrases, shown_exemplars
from neuroscribe.explain.wording import ANSWERS, Wording, wording, wording_text
from neuroscribe.measures.clusters import clusters
from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.replies import Message
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.sections import MOST, Name, Positive
from neuroscribe.text.phrases import end_text

ONE_SENSE = "one sense"
_WORDS = "highlights"
"""The kind whose prompt shows the excerpts of a sense."""


class Senses(Marking):
    """Up to so many explanations of a neuron, each of marked excerpts that resemble each other."""

    asked_apart: ClassVar[bool] = True

    kind: Literal["senses"] = "senses"
    groups: Literal["clusters", "random"] = Field(
        default="clusters",
        description="`random`: as many groups of the same sizes by lot, to which `clusters` are compared",
    )
    beside: Name | None = Field(
        default=None, description="of clusters: the explainer with random groups, which they have to beat"
    )
    senses: Annotated[int, Field(ge=2, le=20)] = Field(default=4, description="clusters at most")
    least_silhouette: Annotated[float, Field(ge=-1, lt=1)] = Field(
        default=0.1, description="mean silhouette of the clusters below which a neuron has one sense"
    )
    words_before: Annotated[int, Field(ge=0, le=20)] = Field(
        default=2, description="words before a peak by which excerpts are held against each other"
    )
    excerpts: Positive = Field(default=10, description="top exemplars of `train`, of those that there are")
    bands: Annotated[int, Field(ge=0, le=MOST)] = Field(
        default=12, description="exemplars of the quantile bands beside them, of those that there are"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="after")
    def clusters_beside_random_groups(self) -> "Senses":
        """Clusters name the explainer that they are compared to, random groups do not."""
        if self.groups == "clusters" and self.beside is None:
            raise ValueError(
                'groups = "clusters" needs beside = "...", the name of an explainer of this kind with the'
                ' same settings and groups = "random": without it nobody knows what clusters are worth'
            )
        if self.groups == "random" and self.beside is not None:
            raise ValueError('groups = "random" is compared to nothing; remove beside')
        return self

    def check_beside(self, name: str, explainers: Mapping[str, ExplainerSpec]) -> None:
        """Raise ValueError unless the explainer beside it differs from it in the groups alone."""
        if self.beside is None:
            return
        other = explainers.get(self.beside)
        if not isinstance(other, Senses) or other != self.model_copy(
            update={"groups": "random", "beside": None}
        ):
            raise ValueError(
                f"explainers.{name}.beside names {self.beside!r}, which has to be an explainer of kind senses"
                ' with groups = "random" and else the same settings; add or correct'
                f" [explainers.{self.beside}]"
            )

    @property
    def uses_encoder(self) -> bool:
        """It clusters by its vectors."""
        return True

    @property
    def is_mark(self) -> bool:
        """Random groups are there to compare clusters with."""
        return self.groups == "random"

    @property
    def rival(self) -> Name | None:
        """The random groups."""
        return self.beside

    @property
    def excerpts_shown(self) -> int:
        """It needs none: it shows those that there are."""
        return 0

    @property
    def banded_shown(self) -> int:
        """Likewise."""
        return 0

    @property
    def draws(self) -> int:
        """One: further draws would have other senses."""
        return 1

    @property
    def words(self) -> Wording:
        """Those of the kind whose prompt it shows, without its examples where none are shown."""
        words = wording(_WORDS)
        return words if self.worked else words.without_examples

    @property
    def wording(self) -> Mapping[str, str]:
        """The same as they stand."""
        return {name: wording_text(name) for name in (_WORDS, ANSWERS)}

    def shown_apart(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> tuple[Shown, ...]:
        """Return a prompt for each group of a neuron's exemplars; none where it has one sense alone."""
        shown = shown_exemplars(evidence.records(neuron), excerpts=self.excerpts, bands=self.bands)
        found = peak_phrases(evidence, neuron, shown, before=self.words_before)
        firing = [bool(phrases) for phrases in found]
        phrases = [each[0] for each in found if each]
        seen = tuple(shown["sequence_id"].to_list())
        if not phrases:
            return (Shown(seen, (), SILENT),)
        groups = self._groups(phrases, before.encoder, neuron)
        if len(groups) == 1:
            return (Shown(seen, (), ONE_SENSE),)
        rows = shown.filter(pl.Series(firing))
        return tuple(self._of_group(evidence, neuron, rows[group]) for group in groups)

    def messages(
        self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts, beside: Beside = NOTHING
    ) -> tuple[Message, ...]:
        """Return the prompt that shows marked excerpts, the last of which is the strongest."""
        return self.words.messages(self.worked_questions(), self.asked(excerpts, beside), self.answer)

    def _of_group(self, evidence: LayerEvidence, neuron: Neuron, rows: pl.DataFrame) -> Shown:
        shown = excerpts_of(evidence, neuron, rows, self.excerpt_tokens, scale=self.marks)
        beside = self.shown_beside(evidence, neuron, shown)
        return Shown(
            (*shown.sequence_ids, *beside.misses.sequence_ids),
            self.messages(evidence, neuron, shown.excerpts, beside),
        )

    def _groups(self, phrases: Sequence[str], encoder: TextEncoder | None, neuron: Neuron) -> list[list[int]]:
        """Return the places of each group's phrases; without an encoder, in a plan, as many as may be."""
        if encoder is None:
            labels = np.arange(len(phrases)) % self.senses
        else:
            vectors = np.array([_vector(encoder, phrase) for phrase in phrases])
            labels = clusters(
                vectors, most=self.senses, seed=self.seed, least_silhouette=self.least_silhouette
            )
        if self.groups == "random":
            labels = _shuffled(labels, f"senses {self.seed} {neuron}")
        return [np.flatnonzero(labels == label).tolist() for label in dict.fromkeys(labels.tolist())]


def _vector(encoder: TextEncoder, phrase: str) -> np.ndarray:
    end = end_vector(end_text(phrase), encoder.pieces)
    return encoder.sentence(phrase) if end is None else end


def _shuffled(labels: Int[np.ndarray, " phrase"], seed: str) -> Int[np.ndarray, " phrase"]:
    """Return the same labels by lot: groups of the same sizes."""
    mixed: list[int] = labels.tolist()
    random.Random(seed).shuffle(mixed)  # noqa: S311 - a seeded draw
    return np.array(mixed)
