"""The scorer `intruder`: how often the excerpt is found that does not belong among a neuron's exemplars.

No explanation takes part, so it does not matter which exemplars an explainer was shown. Where the intruder is
not found, a neuron's exemplars have nothing in common that this judge sees, whatever a text says of them.
Source: the intruder test of topic models (Chang et al. 2009), asked about neurons (2507.08473).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from neuroscribe.choose.choosing import Choosing
from neuroscribe.choose.judges import Chooser
from neuroscribe.choose.odd import OddOneOut
from neuroscribe.choose.trials import Option, Trial
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.sources import Models
from neuroscribe.study.sections import MOST, Name, Positive


class Intruder(Choosing):
    """Can the excerpt be found that does not belong among a neuron's exemplars? No explanation is needed."""

    measure: ClassVar[str] = "intruder"
    regime: ClassVar[str] = ""

    kind: Literal["intruder"] = "intruder"
    explainers: Annotated[tuple[Name, ...], Field(strict=False)] = Field(
        default=(), description="of no use: no explanation takes part"
    )
    shown: Annotated[int, Field(ge=2, le=20)] = Field(
        default=4, description="excerpts of the neuron in a question, beside one intruder"
    )
    questions: Positive = Field(default=10, description="questions about a neuron, each with other excerpts")
    excerpt_tokens: Annotated[int, Field(ge=2, le=MOST)] = Field(
        default=16, description="tokens of an excerpt, which ends where the neuron peaks"
    )

    @field_validator("explainers")
    @classmethod
    def no_explainers(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse explainers: a study that names some expects scores of them."""
        if named:
            raise ValueError("no explanation takes part in an intruder test; take `explainers` out")
        return named

    def trials(self, evidence: LayerEvidence, name: str) -> Sequence[Trial]:
        """Return the questions about every explained side of a neuron that has enough exemplars."""
        drawn = _Drawn(evidence, self, name)
        return [trial for neuron in drawn.neurons for trial in drawn.about(neuron)]

    def chooser(self, models: Models, encoder: TextEncoder | None) -> Chooser:
        """Return who chooses: by likeness among the options, where an encoder does."""
        if self.judge == "encoder" and encoder is not None:
            return OddOneOut(encoder)
        return super().chooser(models, encoder)


@dataclass(frozen=True)
class _End:
    """Where an excerpt ends: the token after the last one that is shown."""

    sequence_id: int
    stop: int


@dataclass(frozen=True)
class _Drawn:
    """What one intruder scorer asks about a layer."""

    evidence: LayerEvidence
    spec: Intruder
    name: str

    @cached_property
    def neurons(self) -> list[Neuron]:
        """The explained sides of neurons, whatever became of their explanations."""
        rows = (
            self.evidence.tables["explanations"]
            .select("neuron", "polarity")
            .unique()
            .sort("neuron", "polarity")
        )
        return [(neuron, polarity) for neuron, polarity in rows.iter_rows()]

    @cached_property
    def peaks(self) -> Mapping[Neuron, list[_End]]:
        """Where the excerpts of each neuron end."""
        return {neuron: self._ends(neuron, "top") for neuron in self.neurons}

    def about(self, neuron: Neuron) -> Iterator[Trial]:
        """Yield the questions about a neuron, none where it has too few excerpts or no silent one."""
        place = (self.name, self.evidence.layer, neuron)
        seed = f"intruders {self.evidence.study.scoring.seed} {place}"
        draw = random.Random(seed)  # noqa: S311 - a seeded draw
        own, silent = self._long_enough(self.peaks[neuron]), self._silent(neuron, draw)
        if len(own) < self.spec.shown or not silent:
            return
        for number in range(self.spec.questions):
            shown = draw.sample(own, self.spec.shown)
            # Ends where nothing else does: an intruder of one of the excerpts' own sequences is no stranger.
            taken = {end.sequence_id for end in shown}
            strangers = [end for end in silent if end.sequence_id not in taken]
            if strangers:
                yield self._question(neuron, number, shown, strangers[number % len(strangers)], draw)

    def _question(
        self, neuron: Neuron, number: int, shown: Sequence[_End], intruder: _End, draw: random.Random
    ) -> Trial:
        ends = [*shown, intruder]
        draw.shuffle(ends)
        # All as long as the shortest, or the length could tell.
        length = min(self.spec.excerpt_tokens, *(end.stop for end in ends))
        options = tuple(self._option(end, length) for end in ends)
        right, asked = ends.index(intruder), self.spec.judge == "llm"
        return Trial(neuron, "test", number, options, right, self.spec.kind_name, is_asked=asked)

    def _option(self, end: _End, length: int) -> Option:
        tokens = self.evidence.tokens[end.sequence_id][end.stop - length : end.stop]
        return Option(f"{end.sequence_id}:{end.stop - length}-{end.stop}", (b"".join(tokens),))

    def _ends(self, neuron: Neuron, kind: str) -> list[_End]:
        """Return where a neuron peaks in its exemplars of a kind; in top ones only where it fires."""
        rows = self.evidence.records(neuron).filter(kind=kind).sort("rank")
        pairs = rows.select("sequence_id", "peak_position", "peak").iter_rows()
        return [
            _End(sequence, position + 1)
            for sequence, position, peak in pairs
            if kind != "top" or peak * neuron[1] > 0
        ]

    def _long_enough(self, ends: list[_End]) -> list[_End]:
        """Return the excerpts of at least half the length, or all where these are too few."""
        long = [end for end in ends if 2 * end.stop >= self.spec.excerpt_tokens]
        return long if len(long) >= self.spec.shown else ends

    def _silent(self, neuron: Neuron, draw: random.Random) -> list[_End]:
        """Return excerpts on which a neuron is silent, in a drawn order: where other neurons peak.

        So an intruder ends at a place as telling as theirs. Where no other neuron's will do, the random
        exemplars are taken, cut at any place.
        """
        others = [end for other in self.neurons if other[0] != neuron[0] for end in self.peaks[other]]
        found = self._kept_silent(neuron, self._long_enough(list(dict.fromkeys(others))))
        if not found:
            length = self.evidence.study.corpus.sequence_length
            least = min(length, self.spec.excerpt_tokens)
            ends = [
                _End(end.sequence_id, draw.randint(least, length)) for end in self._ends(neuron, "random")
            ]
            found = self._kept_silent(neuron, ends)
        draw.shuffle(found)
        return found

    def _kept_silent(self, neuron: Neuron, ends: Sequence[_End]) -> list[_End]:
        """Return those of some excerpts on which the neuron was watched and did not fire."""
        kept, least = self.evidence.truth(neuron), self.evidence.firing(neuron)
        places = {int(sequence): place for place, sequence in enumerate(kept.sequence_ids)}
        return [
            end
            for end in ends
            if end.sequence_id in places
            and bool(np.all(self._values(kept.values[places[end.sequence_id]], end) < least))
        ]

    def _values(self, values: np.ndarray, end: _End) -> np.ndarray:
        return values[max(0, end.stop - self.spec.excerpt_tokens) : end.stop]
