"""How a study's explanations are scored; the measures of agreement come with every simulator."""

from typing import Annotated, Literal

from pydantic import Field

from neuroscribe.study.sections import MOST, Positive, Section

Calibration = Literal["none", "linear", "percentile"]
MEASURES = ("correlation", "r2", "deviation", "contrast")
"""What every simulator is scored by; see neuroscribe/measures/agreement.py."""
SIZES = ("r2", "deviation")
"""The measures that compare sizes of activations, and so depend on the calibration."""


class ScoringSpec(Section):
    """How agreement is measured."""

    sequences_per_split: Positive = Field(default=5, description="top exemplars, and as many random ones")
    calibration: Calibration = Field(
        default="none",
        description="how simulated values become activations, for r2 and deviation alone: `none` stretches"
        " them to the neuron's largest activation, the others are fitted on `valid`, which is then simulated",
    )
    stop_width: Annotated[float, Field(gt=0, le=2)] | None = Field(
        default=None,
        description="simulate no more sequences of a neuron once the interval of its correlation is narrower",
    )
    stability_neurons: Annotated[int, Field(ge=0, le=MOST)] = Field(
        default=1,
        description="sides of neurons per layer that are explained twice more, from other exemplars, by"
        " explainers that show such and write one text: two calls each, and those that simulate the texts",
    )
    bootstrap_samples: Annotated[int, Field(gt=0, le=100_000)] = 1000
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.5
