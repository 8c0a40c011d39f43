"""What a choosing scorer is: settings, its questions with their options, and who chooses."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from neuroscribe.choose.judges import AskedChooser, Chooser, EncoderChooser
from neuroscribe.choose.prompts import choosing_messages, prompt_identity
from neuroscribe.choose.trials import MAX_TOKENS, Trial
from neuroscribe.errors import CapabilityError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.samples import Sample, sample_of
from neuroscribe.ports.sources import Models
from neuroscribe.study.kinds import ChoosingSpec
from neuroscribe.study.sections import Capability


class Choosing(ChoosingSpec):
    """The settings of a scorer that has someone choose. A kind is a module of its own."""

    judge: Literal["llm", "encoder"] = Field(
        default="llm",
        description="who chooses: the model that simulates, or the study's first sentence encoder",
    )

    @property
    def needs(self) -> Capability | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """An LLM's answers, where one chooses."""
        return "reply" if self.judge == "llm" else "encoder"

    @property
    def uses_encoder(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the study's first sentence encoder chooses."""
        return self.judge == "encoder"

    @property
    def wording(self) -> Mapping[str, str]:
        """The wording of its kind, where an LLM reads it."""
        return {self.kind_name: prompt_identity(self.kind_name)} if self.judge == "llm" else {}

    def samples(self, tokens: int) -> list[Sample]:
        """Return a question in the form of its own."""
        messages = choosing_messages(self.kind_name, "rain", [[b"rain"], [b"snow"]])
        return [sample_of(messages, max_tokens=MAX_TOKENS)]

    @abstractmethod
    def trials(self, evidence: LayerEvidence, name: str) -> Sequence[Trial]:
        """Return what is asked about a layer's neurons; `name` is the scorer's."""

    def chooser(self, models: Models, encoder: TextEncoder | None) -> Chooser:
        """Return who chooses; raises CapabilityError without the model or the encoder that it needs."""
        if self.judge == "encoder":
            if encoder is None:
                raise CapabilityError(f"the scorer {self.kind_name} needs an encoder, and none was given")
            return EncoderChooser(encoder)
        if models.llm is None:
            raise CapabilityError(f"the scorer {self.kind_name} asks an LLM, and none was given")
        return AskedChooser(models.llm, [self.kind_name], models.calls)


def choosing(evidence: LayerEvidence, name: str) -> Choosing:
    """Return the settings of a choosing scorer of the study."""
    spec = evidence.study.choosing[name]
    assert isinstance(spec, Choosing), "every kind of choosing scorer derives from Choosing"
    return spec


def questions(evidence: LayerEvidence, name: str) -> Sequence[Trial]:
    """Return what a choosing scorer of the study asks about a layer."""
    return choosing(evidence, name).trials(evidence, name)
