"""The model under study, as a study file names it."""

from typing import Annotated, Any

from pydantic import Field

from neuroscribe.study.sections import ModelSpec, Name

MOST_LAYERS, MOST_NEURONS = 10_000, 10**7
"""Beyond any model; each layer is a partition that Dagster lists before a model that could tell is loaded."""
RANDOMISED = "randomised, seed 0"
"""Said of a subject that has its architecture's random initialisation instead of its weights."""


class SubjectSpec(ModelSpec):
    """The model under study; its size is stated so that partitions exist before it is loaded."""

    layers: Annotated[int, Field(gt=0, le=MOST_LAYERS)]
    neurons_per_layer: Annotated[int, Field(gt=0, le=MOST_NEURONS)]
    prefix_token: str | None = Field(
        default=None,
        description="token fed before every sequence and never recorded (BOS); it draws off the attention"
        " that models pour on the first position",
    )
    fused_gelu: bool = Field(
        default=False,
        description="compute GPT-2's activation function in one step: faster, other in the last bits",
    )
    compiled: bool = Field(
        default=False,
        description="compile the forward pass with the capture inside it: other in the last bits; on a CPU it"
        " needs a C++ compiler",
    )
    randomised: bool = Field(
        default=False,
        description="leave the model's weights out and study its random initialisation (seed 0): the twin of"
        " a study, whose scores say what is no knowledge of the model",
    )
    units: Name = Field(
        default="mlp_neurons",
        description="what a neuron is: a kind listed in neuroscribe/subject/units/kinds.py; layers and"
        " neurons_per_layer count what it finds",
    )

    @property
    def has_other_units(self) -> bool:
        """Whether its neurons are no MLP neurons."""
        return not self._is_default("units")

    @property
    def identifying(self) -> dict[str, Any]:
        """The settings, later ones only where they are not the default: identities from before hold."""
        later = ("compiled", "randomised", "units")
        return self.model_dump(exclude={name for name in later if self._is_default(name)})

    @property
    def title(self) -> str:
        """The model, and that it is no trained one where it is not."""
        return f"{self.model}, randomised" if self.randomised else self.model

    @property
    def copy_of_weights(self) -> str:
        """Which weights they are, in the words of cards and files."""
        copy = self.artefact or self.revision or "unpinned"
        return f"{copy}, {RANDOMISED}" if self.randomised else copy

    def _is_default(self, name: str) -> bool:
        return getattr(self, name) == type(self).model_fields[name].default
