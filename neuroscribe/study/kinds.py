"""What a study knows of the explainers, simulators and scorers that it names.

Each kind is a module of its own in `explain`, `simulate`, `judge` or `ablate`, whose settings derive from
these; `neuroscribe.kinds` lists them all.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from neuroscribe.study.sections import Capability, EncoderSpec, FromList, Name, Positive, Section


class KindSpec(Section):
    """The settings of one explainer, simulator or scorer; a field `kind` of each kind names it."""

    needs: ClassVar[Capability | None] = None
    """What a model must be able to do for it; None where it asks no model."""
    uses_effects: ClassVar[bool] = False
    """Whether it reads EFFECTS: what the subject says with a neuron amplified."""

    @property
    def kind_name(self) -> str:
        """The name of its kind, as a study file gives it."""
        return type(self).model_fields["kind"].default

    @property
    def wording(self) -> Mapping[str, str]:
        """What its results rest on beside its settings: prompt files by name, each as text or as its hash."""
        return {}

    @property
    def encoders(self) -> tuple[EncoderSpec, ...]:
        """The sentence encoders that it uses."""
        return (self,) if isinstance(self, EncoderSpec) else ()


LLMSection = Literal["llm", "simulator_llm", "paraphraser_llm"]
"""The section of a study that names a language model."""
Half = Literal["input", "output"]
"""Of a neuron: what it fires on, or what it does to the next token."""


class ExplainerSpec(KindSpec):
    """Puts a neuron into words."""

    asks: ClassVar[LLMSection] = "llm"
    """Which of the study's models it asks, where it asks one."""
    half: ClassVar[Half] = "input"
    """Which half of a neuron it explains: explanations of the input half are simulated."""
    asked_apart: ClassVar[bool] = False
    """Whether a simulator that is asked reads the parts of an explanation one by one, and not its text."""

    reads_table: ClassVar[bool] = False
    """Whether it shows what TOKEN_LOOKUP says of a neuron, and so is scored on held-out documents alone."""

    @property
    def texts_per_neuron(self) -> int:
        """How many explanations it writes of a neuron; of several, `valid` decides which is reported."""
        return 1

    @property
    def builds_on(self) -> tuple[Name, ...]:
        """The explainers of the study whose texts it works on; they go before it."""
        return ()

    @property
    def uses_encoder(self) -> bool:
        """Whether it needs the study's first sentence encoder, and ENCODED_CORPUS."""
        return False

    @property
    def is_mark(self) -> bool:
        """Whether its texts are there to compare others with, and never describe a neuron."""
        return False

    @property
    def rival(self) -> Name | None:
        """The explainer of the study that it has to beat on `valid` to describe a neuron; None for most."""
        return None

    def check_beside(self, name: str, explainers: "Mapping[str, ExplainerSpec]") -> None:
        """Raise ValueError where the study's explainers lack what it needs; `name` is its own among them."""

    @property
    def is_pinned(self) -> bool:
        """Whether what it reads beside the study's own tables is the same every time."""
        return True

    @property
    def describes(self) -> bool:
        """Whether its text may be what a neuron is described by."""
        return not self.is_mark

    @property
    def excerpts_shown(self) -> int:
        """How many excerpts of a neuron it needs, each of another training exemplar."""
        return 0

    @property
    def banded_shown(self) -> int:
        """How many exemplars of the quantile bands it shows of a neuron."""
        return 0

    @property
    def draws(self) -> int:
        """How many draws of exemplars it can explain a neuron from; see `scoring.stability_neurons`."""
        return 1


class SimulatorSpec(KindSpec):
    """Predicts activations from the explanations of some explainers."""

    costs_nothing: ClassVar[bool] = False
    """Whether it reads the whole corpus at the cost of reading little of it."""
    tells_firing: ClassVar[bool] = True
    """Whether half of its scale means that the neuron fires; if not, F1 and IoU say nothing of it."""

    explainers: Annotated[tuple[Name, ...], FromList]
    neurons_per_layer: Positive | Literal["all"] = Field(
        default="all",
        description="sides of neurons per layer whose explanations it reads: all, or so many drawn by seed,"
        " for a simulator that is dear",
    )
    layers: Annotated[tuple[int, ...], FromList] | Literal["all"] = Field(
        default="all",
        description="the layers whose explanations it reads, for one that is dear",
        # Identities from before the setting hold.
        exclude_if=lambda chosen: chosen == "all",
    )

    @field_validator("layers")
    @classmethod
    def layers_ascend(cls, layers: tuple[int, ...] | Literal["all"]) -> tuple[int, ...] | Literal["all"]:
        """Bring layers into one form, for a study that names them in another order is the same."""
        return layers if layers == "all" else tuple(sorted(set(layers)))

    def reads_all(self, layer: int) -> bool:
        """Tell whether it reads the explanations of all sides of a layer that are explained."""
        return self.neurons_per_layer == "all" and self.reads_some(layer)

    def reads_some(self, layer: int) -> bool:
        """Tell whether it reads any explanation of a layer."""
        return self.layers == "all" or layer in self.layers

    @abstractmethod
    def calls(self, tokens: int) -> int:
        """Return how many LLM calls read one sequence of `tokens` tokens under one explanation."""


class JudgeSpec(KindSpec):
    """A scorer that asks about single excerpts whether they fit an explanation."""

    measures: ClassVar[tuple[str, ...]] = ("balanced_accuracy", "auc")
    """The scores that it gives; by the first one a candidate is chosen."""

    explainers: Annotated[tuple[Name, ...], FromList]

    def published_as(self, name: str) -> tuple[str, ...]:
        """Return the names of its scores, of a scorer of this name."""
        return tuple(f"{name}_{measure}" for measure in self.measures)


class AblationSpec(KindSpec):
    """A scorer that runs the subject on what some simulators predict."""

    needs: ClassVar[Capability | None] = "subject"

    simulators: Annotated[tuple[Name, ...], FromList]

    def published_as(self, name: str) -> tuple[str, ...]:
        """Return the names of its scores, of a scorer of this name."""
        return tuple(f"{name}_{simulator}" for simulator in self.simulators)


class WritingSpec(KindSpec):
    """A scorer that has sentences written from an explanation, and runs the subject on them."""

    explainers: Annotated[tuple[Name, ...], FromList]

    def published_as(self, name: str) -> tuple[str, ...]:
        """Return the name of its score: its own."""
        return (name,)


class ChoosingSpec(KindSpec):
    """A scorer that asks which of several options is meant; it publishes under its own name."""

    measure: ClassVar[str]
    """What its score is called."""
    regime: ClassVar[str]
    """What the options are taken from."""
    half: ClassVar[Half] = "input"
    """The half of a neuron that it tests: of the other one's explanations it says nothing."""

    explainers: Annotated[tuple[Name, ...], Field(strict=False)] = ()

    @property
    def uses_encoder(self) -> bool:
        """Whether it needs the study's first sentence encoder."""
        return False

    def published_as(self, name: str) -> tuple[str, ...]:
        """Return the name of its score: its own."""
        return (name,)
