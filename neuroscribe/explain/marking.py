"""What explainers of marked excerpts share: what is marked, and what stands beside the excerpts."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import Scale, ShownExcerpts, shown_excerpts
from neuroscribe.explain.explainer import SILENT, Showing, Shown
from neuroscribe.explain.near_misses import NearMisses, near_misses
from neuroscribe.explain.pairs import Excerpts
from neuroscribe.explain.wording import Example, Wording, filled
from neuroscribe.ports.replies import Message
from neuroscribe.study.sections import MOST
from neuroscribe.text.escaping import quoted
from neuroscribe.text.marks import marked, marked_phrases, marked_texts, missed
from neuroscribe.text.phrases import peak_phrase

BEFORE = 2
"""Words before a peak's own in its phrase: four are as good (docs/decisions/0025)."""
_Count = Annotated[int, Field(ge=0, le=MOST)]


@dataclass(frozen=True)
class Beside:
    """What stands beside the marked excerpts of a neuron."""

    strengths: tuple[int, ...] = ()
    """Each excerpt's peak in tenths of the neuron's largest activation; none where they are not shown."""
    phrases: tuple[str, ...] = ()
    """(Escaped) peak phrases, in place of the marked tokens."""
    misses: NearMisses = field(default_factory=NearMisses)


NOTHING = Beside()


class Marking(Showing):
    """An explainer that shows excerpts with the strongly firing tokens marked."""

    excerpt_tokens: Annotated[int, Field(ge=4, le=MOST)] = 16
    marks: Scale = Field(
        default="neuron",
        description="marks go from half of `neuron`: its maximum, or of `excerpt`: each excerpt's own peak,"
        " and the strength of each is shown",
    )
    bands: _Count = Field(default=0, description="excerpts from the quantile bands, beside the top ones")
    phrases: _Count = Field(
        default=0, description="peaks listed with the two words before them, in place of the marked tokens"
    )
    near_misses: _Count = Field(
        default=0, description="excerpts that hold what it fires on elsewhere, and in which it is silent"
    )

    @property
    def banded_shown(self) -> int:
        """As many as the study asks for."""
        return self.bands

    def shown_excerpts(self, evidence: LayerEvidence, neuron: Neuron, draw: int) -> ShownExcerpts:
        """Return the excerpts as pairs, the strongest first, then those of the bands."""
        return shown_excerpts(
            evidence, neuron, self.excerpts, self.excerpt_tokens, draw, scale=self.marks, bands=self.bands
        )

    def shown_from(self, evidence: LayerEvidence, neuron: Neuron, *, draw: int) -> Shown:
        """Return its excerpts and what stands beside them, unless the neuron fires in none."""
        shown = self.shown_excerpts(evidence, neuron, draw)
        if not any(value for pairs in shown.excerpts for _, value in pairs):
            return Shown(shown.sequence_ids, (), SILENT)
        beside = self.shown_beside(evidence, neuron, shown)
        return Shown(
            (*shown.sequence_ids, *beside.misses.sequence_ids),
            self.messages(evidence, neuron, shown.excerpts, beside),
        )

    def shown_beside(self, evidence: LayerEvidence, neuron: Neuron, shown: ShownExcerpts) -> Beside:
        """Return what the settings ask for beside some excerpts."""
        peaks = list(zip(shown.sequence_ids, shown.peaks, strict=True))[: self.phrases]
        misses = NearMisses()
        if self.near_misses:
            misses = near_misses(evidence, neuron, shown, count=self.near_misses, length=self.excerpt_tokens)
        return Beside(
            strengths=shown.strengths if self.marks == "excerpt" else (),
            phrases=tuple(peak_phrase(evidence.tokens[at], place, BEFORE) for at, place in peaks),
            misses=misses,
        )

    @abstractmethod
    def messages(
        self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts, beside: Beside = NOTHING
    ) -> tuple[Message, ...]:
        """Return the prompt that shows these excerpts of a neuron, with what stands beside them."""

    def worked_questions(self) -> list[str]:
        """Return the questions of the worked examples, in the form that neurons are asked about."""
        return [self._worked(example) for example in self.words.examples]

    def _worked(self, example: Example) -> str:
        """Return the question of a worked example; the last of its excerpts is the strongest."""
        excerpts: Sequence[str] = example.shown["excerpts"]
        phrases = [phrase for excerpt in excerpts[::-1] for phrase in marked_phrases(excerpt, BEFORE)]
        weaker = range(10, 10 - 2 * len(excerpts), -2)
        return asked_about(
            self.words,
            excerpts,
            strengths=tuple(weaker)[::-1] if self.marks == "excerpt" else (),
            phrases=phrases[: self.phrases],
            misses=example.shown["misses"] if self.near_misses else (),
            promoted=self.promoted_in(example),
        )

    def promoted_in(self, example: Example) -> str | None:
        """Return the promoted tokens of a worked example, as they are shown; None for none."""
        return None

    def asked(self, excerpts: Excerpts, beside: Beside, promoted: str | None = None) -> str:
        """Return the question about a neuron's excerpts, the last of which is the strongest."""
        return asked_about(
            self.words,
            marked(excerpts[::-1]),
            strengths=beside.strengths[::-1],
            phrases=beside.phrases,
            misses=[missed(pairs) for pairs in beside.misses.excerpts],
            promoted=promoted,
        )


def asked_about(
    wording: Wording,
    excerpts: Sequence[str],
    *,
    strengths: Sequence[int] = (),
    phrases: Sequence[str] = (),
    misses: Sequence[str] = (),
    promoted: str | None = None,
) -> str:
    """Return the question that shows some marked excerpts, and what of the rest there is."""
    parts = wording.parts
    # The number keeps corpus text from the beginning of a line, where headings and answers stand.
    blocks = [f"{place}. {excerpt}" for place, excerpt in enumerate(excerpts, start=1)]
    if strengths:
        blocks = [
            f"{place}. ({strength}/10) {excerpt}"
            for place, (strength, excerpt) in enumerate(zip(strengths, excerpts, strict=True), start=1)
        ]
    if phrases:
        listed = dict.fromkeys(quoted(phrase) for phrase in phrases)
        blocks.append(filled(parts["phrases"], phrases=", ".join(listed)))
    else:
        blocks.append(filled(parts["marked"], tokens=_counted(excerpts)))
    if misses:
        blocks += [parts["misses"], *(f"{place}. {text}" for place, text in enumerate(misses, start=1))]
    if promoted is not None:
        blocks.append(filled(parts["promoted"], promoted=promoted))
    return filled(wording.question, evidence="\n".join(blocks))


def _counted(excerpts: Sequence[str]) -> str:
    """Return the marked tokens of all excerpts, the most frequent first."""
    tokens = Counter(token for excerpt in excerpts for token in marked_texts(excerpt))
    return ", ".join(
        quoted(token) + (f" x{count}" if count > 1 else "") for token, count in tokens.most_common()
    )
