"""What explainers have in common that ask an LLM about what another explainer has said."""

from abc import abstractmethod

from pydantic import Field

from neuroscribe.explain.explainer import Asking
from neuroscribe.explain.wording import Example
from neuroscribe.ports.replies import Message
from neuroscribe.ports.samples import Sample, sample_of
from neuroscribe.study.sections import Name
from neuroscribe.text.escaping import escaped, quoted


class Derived(Asking):
    """An explainer that asks an LLM about another one's texts."""

    of: Name = Field(description="the explainer whose texts it starts from")
    worked: bool = Field(
        default=False,
        description="whether worked examples come first; models that continue text need some",
    )

    @property
    def builds_on(self) -> tuple[Name, ...]:
        """The explainer that it starts from."""
        return (self.of,)

    def samples(self, tokens: int) -> list[Sample]:
        """Return a question in the form of its own."""
        return [
            sample_of(
                self.asked(""),
                max_tokens=self.answer_tokens,
                temperature=self.temperature,
                schema=self.answer_schema,
            )
        ]

    def asked(self, question: str) -> tuple[Message, ...]:
        """Return the prompt that asks a question, after worked ones or by itself."""
        words = self.words
        if not self.worked:
            return words.alone(question, self.answer)
        return words.messages([self.worked_question(each) for each in words.examples], question, self.answer)

    @abstractmethod
    def worked_question(self, example: Example) -> str:
        """Return the question of a worked example."""

    def without(self) -> str:
        """Return the reason where there is nothing to start from."""
        return f"no explanation by {self.of} to start from"


def stated(text: str) -> str:
    """Return an explanation as prompts quote it: on one line, and forming no marks."""
    return quoted(escaped(text.encode("utf-8", "surrogatepass")))
