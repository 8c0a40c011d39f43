"""What a scorer is that has sentences written: settings, and what it asks or fills in for an explanation."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from neuroscribe.ports.replies import Message
from neuroscribe.study.kinds import WritingSpec
from neuroscribe.write.prompts import wording_identity
from neuroscribe.write.sentences import Sentence


class Writing(WritingSpec):
    """The settings of a scorer that has sentences written. A kind is a module of its own."""

    sentences: Annotated[int, Field(ge=2, le=50)] = Field(
        default=10, description="sentences written from an explanation"
    )

    @property
    def wording(self) -> Mapping[str, str]:
        """The wording of its kind's name in `prompts.toml`."""
        return {self.kind_name: wording_identity(self.kind_name)}


class AskedWriting(Writing):
    """One whose sentences an LLM writes, a call for each explanation."""

    @abstractmethod
    def messages(self, text: str) -> tuple[Message, ...]:
        """Return the prompt about an explanation."""

    @property
    @abstractmethod
    def answer_tokens(self) -> int:
        """Tokens that an answer may take."""


class FilledWriting(Writing):
    """One whose sentences are made without an LLM."""

    @abstractmethod
    def filled(self, explanation: Mapping[str, Any]) -> list[Sentence]:
        """Return the sentences of a row of EXPLANATIONS; a single one with a status where there are none."""
