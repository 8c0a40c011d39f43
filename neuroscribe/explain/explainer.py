"""What an explainer is: settings, and what it shows an LLM of a neuron or says of it by itself.

A kind is a module of its own, with a data file of its name where it asks an LLM.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from neuroscribe.evidence.exemplars import DRAWS, Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import ShownExcerpts, shown_excerpts
from neuroscribe.explain.pairs import Excerpts
from neuroscribe.explain.parsing import SCHEMA
from neuroscribe.explain.wording import ANSWERS, AnswerForm, Wording, wording, wording_text
from neuroscribe.ports.labels import Labels
from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.replies import Message, Schema
from neuroscribe.ports.samples import Sample, sample_of
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.sections import MOST, Capability, Positive

NO_TOKEN = "no token has a positive mean"  # noqa: S105 - no password
SILENT = "no training exemplar shows the neuron firing"
_TOKENS_OF_ANSWER: dict[AnswerForm, int] = {"line": 60, "schema": 800}


@dataclass(frozen=True)
class Shown:
    """What is shown of a neuron; without messages there is nothing to ask, for the reason given."""

    sequence_ids: tuple[int, ...] = ()
    messages: tuple[Message, ...] = ()
    reason: str = ""
    unlike: str = ""
    """A text that the answer has to say in other words."""


@dataclass(frozen=True)
class Said:
    """What an explainer says of a neuron by itself."""

    text: str
    parts: tuple[str, ...] | None = None
    """Texts that are read one by one, of which the largest value counts; None: `text` as a whole."""
    sequence_ids: tuple[int, ...] = ()
    """What it was made from and is never scored on."""
    raw: str = ""
    """Where it was found, for one that was read."""


@dataclass(frozen=True)
class Unsaid:
    """Why an explainer says nothing of a neuron, where that is more than a failure."""

    reason: str
    status: str = "failed"


@dataclass(frozen=True)
class Before:
    """What there is before an explainer begins, beside the layer's tables."""

    rows: Mapping[str, Sequence[Mapping[str, Any]]] = field(
        default_factory=dict[str, Sequence[Mapping[str, Any]]]
    )
    """The rows of EXPLANATIONS of the explainers that it builds on, by explainer."""
    encoder: TextEncoder | None = None
    """The study's first encoder, where an explainer uses one; a plan has none."""
    form: str = ""
    """How an explainer with several forms asks; a plan takes its first one."""
    labels: Labels | None = None
    """What others have said of the neurons, for an explainer that reads it."""

    def text_of(self, explainer: str, neuron: Neuron) -> Mapping[str, Any] | None:
        """Return the first row with a text, from draw 0, of an explainer about a neuron; None without one."""
        return next(
            (
                row
                for row in self.rows[explainer]
                if (row["neuron"], row["polarity"]) == neuron and row["status"] == "ok" and not row["draw"]
            ),
            None,
        )


class Explaining(ExplainerSpec):
    """What every explainer does: it chooses the neurons that it explains."""

    def neurons(self, evidence: LayerEvidence) -> Sequence[Neuron]:
        """Return the neurons that it says something of; of others it has no row."""
        return evidence.neurons

    def check(self, evidence: LayerEvidence, name: str) -> None:
        """Raise CapabilityError where the layer's tables lack what it shows; `name` is the explainer's."""


class Listing(Explaining):
    """An explainer that needs no LLM."""

    @abstractmethod
    def said(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Said | str:
        """Return a neuron's explanation, or the reason why there is none."""

    def said_each(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Sequence[Said | Unsaid]:
        """Return a neuron's candidates, or why there is none; for most kinds the one explanation."""
        said = self.said(evidence, neuron, before)
        return (said if isinstance(said, Said) else Unsaid(said),)


class Asking(Explaining):
    """An explainer that asks an LLM."""

    needs: ClassVar[Capability | None] = "reply"

    answer: AnswerForm = Field(
        default="line", description="`line`: one phrase; `schema`: JSON with a short and a long text"
    )
    worked: bool = Field(
        default=True,
        description="whether worked examples come first; small chat models read better with them",
    )
    apart: bool = Field(
        default=True,
        description="whether a line of the form `kind: word, word` is read word by word, as `kind: word`, of"
        " which the largest value counts",
    )
    candidates: Positive = 1
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    max_tokens: Positive | None = Field(
        default=None, description="limit of an answer; unless given, 60 for a line and 800 for a schema"
    )

    @model_validator(mode="after")
    def candidates_differ(self) -> "Asking":
        """Several candidates need a temperature."""
        if self.candidates > 1 and self.temperature == 0:
            raise ValueError(
                f"candidates = {self.candidates} at temperature = 0 are all the same; raise temperature, or"
                " ask for one"
            )
        return self

    @property
    def texts_per_neuron(self) -> int:
        """One a candidate."""
        return self.candidates

    @property
    def answer_tokens(self) -> int:
        """Tokens that an answer may take."""
        return self.max_tokens or _TOKENS_OF_ANSWER[self.answer]

    @property
    def words(self) -> Wording:
        """The words of its kind: the data file of that name, without its examples where none are shown."""
        words = wording(self.kind_name)
        return words if self.worked else words.without_examples

    @property
    def wording(self) -> Mapping[str, str]:
        """The data file of its kind, and that of the answers."""
        return {name: wording_text(name) for name in (self.kind_name, ANSWERS)}

    @property
    def answer_schema(self) -> Schema | None:
        """The JSON schema of its answers; none where they are plain text."""
        return SCHEMA if self.answer == "schema" else None

    def samples(self, tokens: int) -> list[Sample]:
        """Return a question in the form of its own."""
        messages = self.words.messages([""] * len(self.words.examples), "", self.answer)
        return [
            sample_of(
                messages,
                max_tokens=self.answer_tokens,
                temperature=self.temperature,
                schema=self.answer_schema,
            )
        ]

    @abstractmethod
    def shown(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Shown:
        """Return what is shown of a neuron, as a prompt.

        Corpus text in it is escaped, taken apart where it would form marks, and never begins a line.
        """

    def shown_apart(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> tuple[Shown, ...]:
        """Return the prompts of which each gives a part of one explanation; for most kinds the one prompt."""
        return (self.shown(evidence, neuron, before),)


class Drawing(Asking):
    """An explainer that shows an LLM what a neuron does in a draw of its exemplars."""

    excerpts: Positive = 5

    @property
    def excerpts_shown(self) -> int:
        """As many as the study asks for."""
        return self.excerpts

    @property
    def draws(self) -> int:
        """One, where `valid` serves to choose among candidates; else its exemplars give two more."""
        return DRAWS if self.candidates == 1 else 1

    def shown(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Shown:
        """Return what it does in its training exemplars, unless it fires in none of them."""
        return self.shown_from(evidence, neuron, draw=0)

    @abstractmethod
    def shown_from(self, evidence: LayerEvidence, neuron: Neuron, *, draw: int) -> Shown:
        """Return what it does in a draw of exemplars, unless it fires in none of them."""


class Showing(Drawing):
    """An explainer that shows an LLM a neuron's excerpts."""

    excerpt_tokens: Annotated[int, Field(ge=4, le=MOST)] = Field(
        default=64, description="tokens shown around each peak"
    )

    def shown_from(self, evidence: LayerEvidence, neuron: Neuron, *, draw: int) -> Shown:
        """Return its excerpts from a draw of exemplars, unless the neuron fires in none of them."""
        shown = self.shown_excerpts(evidence, neuron, draw)
        if not any(value for pairs in shown.excerpts for _, value in pairs):
            return Shown(shown.sequence_ids, (), SILENT)
        return Shown(shown.sequence_ids, self.messages(evidence, neuron, shown.excerpts))

    def shown_excerpts(self, evidence: LayerEvidence, neuron: Neuron, draw: int) -> ShownExcerpts:
        """Return the excerpts as pairs, the strongest first."""
        return shown_excerpts(evidence, neuron, self.excerpts, self.excerpt_tokens, draw)

    @abstractmethod
    def messages(self, evidence: LayerEvidence, neuron: Neuron, excerpts: Excerpts) -> tuple[Message, ...]:
        """Return the prompt that shows these excerpts of a neuron."""
