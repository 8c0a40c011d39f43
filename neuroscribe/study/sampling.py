"""Which neurons of a study are explained, and on which sequences all of their activations are kept."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroscribe.study.sections import MOST, FromList, Positive, Section, Seed


class SampleSpec(Section):
    """Which neurons are explained; all neurons are captured."""

    sequences: Positive | Literal["all"] = Field(
        default="all",
        description="sequences on which all activations of the explained neurons are kept: all, or a seeded"
        " draw of so many, which estimates stand on then",
    )
    layers: Annotated[tuple[int, ...], FromList] | Literal["all"] = Field(
        default="all", description="layers that are explained; the others are captured alone"
    )
    neurons_per_layer: Positive | Literal["all"] = "all"
    polarity: Literal["positive", "stronger", "both"] = Field(
        default="positive", description="`stronger`: the side with the larger extreme"
    )
    seed: Seed = 0
    recognisable: Annotated[int, Field(ge=0, le=MOST)] = Field(
        default=0,
        description="so many further neurons of each layer, drawn among those that their tokens predict; they"
        " show what success looks like, and are in no mean",
    )

    @model_validator(mode="after")
    def further_neurons(self) -> "SampleSpec":
        """Where all neurons are explained, there are no further ones."""
        if self.recognisable and self.neurons_per_layer == "all":
            raise ValueError(
                "recognisable draws further neurons, but neurons_per_layer takes all already; remove one"
            )
        return self
