"""The explainer `auto`: of several forms of asking an LLM, the one that it understands best.

Which form a model can read depends on its size and training: a small one loses the thread of long prompts and
copies worked examples, a large one is helped by context. Before the first neuron each form is tried on the
packaged plain puzzles, whose explanations are known (`neuroscribe.explain.probe`; docs/decisions/0031).
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from neuroscribe.explain.evidence import OCCURRENCES
from neuroscribe.explain.explainer import Asking, Explaining
from neuroscribe.explain.highlights import Highlights
from neuroscribe.explain.phrase_summary import PhraseSummary
from neuroscribe.explain.puzzles import PLAIN, plain_puzzles_text
from neuroscribe.explain.token_summary import TokenSummary
from neuroscribe.ports.samples import Sample
from neuroscribe.study.sections import Capability, FromList, Positive

Form = Literal["token_summary", "phrase_summary", "highlights", "highlights_zero_shot"]
FORMS: tuple[Form, ...] = ("token_summary", "phrase_summary", "highlights", "highlights_zero_shot")


class Auto(Explaining):
    """The form of asking that the study's LLM solves the most plain puzzles with."""

    needs: ClassVar[Capability | None] = "reply"
    reads_table: ClassVar[bool] = True

    kind: Literal["auto"] = "auto"
    forms: Annotated[tuple[Form, ...], FromList, Field(min_length=1)] = Field(
        default=FORMS, description="forms to choose among; of equally good ones the first"
    )
    excerpts: Positive = Field(default=5, description="top excerpts that a form shows, where it shows such")
    occurrences: Positive = OCCURRENCES
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Positive = Field(default=60, description="limit of an answer")

    @field_validator("forms")
    @classmethod
    def forms_differ(cls, forms: tuple[Form, ...]) -> tuple[Form, ...]:
        """Refuse a form that is named twice, which would be tried for nothing."""
        if len(set(forms)) < len(forms):
            raise ValueError("names a form twice; remove it")
        return forms

    @property
    def is_tried(self) -> bool:
        """Whether there is something to choose."""
        return len(self.forms) > 1

    @property
    def uses_encoder(self) -> bool:
        """It does where forms are tried: which answers to the puzzles are right is told by their meaning."""
        return self.is_tried

    @property
    def excerpts_shown(self) -> int:
        """As many as any of its forms may show."""
        return max(self.asking(form).excerpts_shown for form in self.forms)

    @property
    def wording(self) -> Mapping[str, str]:
        """The data files of its forms, and the puzzles."""
        files = {name: text for form in self.forms for name, text in self.asking(form).wording.items()}
        return {**files, PLAIN: plain_puzzles_text()}

    def samples(self, tokens: int) -> list[Sample]:
        """Return a question in each form."""
        return [sample for form in self.forms for sample in self.asking(form).samples(tokens)]

    def asking(self, form: str) -> Asking:
        """Return the settings of a form; raises ValueError for a name that is none."""
        decoding = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        marked = {"excerpts": self.excerpts, "excerpt_tokens": 24, "marks": "excerpt"}
        match form:
            case "token_summary":
                return TokenSummary.model_validate({**decoding, "occurrences": self.occurrences})
            case "phrase_summary":
                return PhraseSummary.model_validate({**decoding, "excerpts": self.excerpts})
            case "highlights":
                return Highlights.model_validate({**decoding, **marked})
            case "highlights_zero_shot":
                return Highlights.model_validate({**decoding, **marked, "worked": False})
            case _:
                raise ValueError(f"{form!r} is no form of asking; there are {', '.join(FORMS)}")
