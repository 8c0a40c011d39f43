"""How a study's explanations are scored; the measures of agreement come with every simulator."""

from typing import Annotated, Literal

from pydantic import Field

from neuroscribe.study.sections import MOST, Name, Positive, Section

Calibration = Literal["none", "linear", "percentile"]
AGREEMENTS = ("correlation", "cosine", "f1", "iou", "auprc")
"""What every simulator is scored by over the whole corpus; see neuroscribe/measures/agreement.py."""
SIZES = ("r2", "deviation")
"""The measures that compare sizes of activations, and so are there only where a calibration is fitted."""
OF_FIRING = ("f1", "iou")
"""Those that need to know from where on a simulation says that the neuron fires."""
MEASURES = (*AGREEMENTS, *SIZES)
FIRING_SHARE = 0.35
"""A neuron fires where its activation is at least this share of the smallest peak of its top exemplars."""
FEWEST_SEQUENCES = 10
"""Draws of which each stratum has at least two."""


class ScoringSpec(Section):
    """How agreement is measured."""

    sequences: Annotated[int, Field(ge=FEWEST_SEQUENCES, le=10**6)] = Field(
        default=20,
        description="sequences drawn for each explanation, from which its score on the whole corpus is"
        " estimated; simulators that cost nothing read all",
    )
    sequences_per_split: Positive = Field(
        default=5,
        description="for comparison with the paper: top exemplars, and as many random ones, of its regimes",
    )
    calibration: Calibration = Field(
        default="none",
        description="how simulated values become activations, for r2 and deviation: fitted on `valid`, which"
        " is then simulated; with `none` there is no r2 and no deviation",
    )
    stop_width: Annotated[float, Field(gt=0, le=2)] | None = Field(
        default=None,
        description="simulate no more sequences of a neuron once the interval of its correlation is narrower",
    )
    bootstrap_samples: Annotated[int, Field(gt=0, le=100_000)] = Field(
        default=1000, description="of studies from before, and without effect: intervals are computed"
    )
    stability_neurons: Annotated[int, Field(ge=0, le=MOST)] = Field(
        default=1,
        description="sides of neurons per layer that are explained twice more, from other exemplars, by"
        " explainers that show such and write one text: two calls each, and, where no simulator of theirs"
        " costs nothing, those that simulate the texts",
    )
    decides: Name | None = Field(
        default=None,
        description="the simulator by whose scores on `valid` the text is chosen that describes a neuron:"
        " unless named, the first that costs nothing and reads several explainers. One that is asked is asked"
        " twice as much for it",
    )
    simulated_candidates: Positive | None = Field(
        default=None,
        description="of the texts that language models wrote of a neuron, simulators that are asked read the"
        " best so many on `valid`, by the simulator that decides, which must cost nothing; unless given, all",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.5

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures of every simulator.

        Sizes are compared only where a calibration is fitted. Uncalibrated, a simulated 10 would stand for
        the neuron's largest activation, which few sequences come near, and r2 and deviation would say how far
        off that is, not what the explanation explains.
        """
        return AGREEMENTS if self.calibration == "none" else MEASURES
