"""How a study's explanations are scored: settings of every score, and the scorers that a study can name.

The measures of agreement between simulation and truth come with every simulator and need no scorer.
"""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from neuroscribe.study.prompts import JudgingLayout
from neuroscribe.study.sections import Capability, EncoderSpec, FromList, Name, Positive, Section

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
    bootstrap_samples: Annotated[int, Field(gt=0, le=100_000)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Judging(Section):
    """A scorer that asks about single excerpts whether they fit an explanation."""

    needs: ClassVar[Capability]
    prompts: ClassVar[tuple[JudgingLayout, ...]]
    """Layouts whose wording its results depend on; none for a scorer that asks no language model."""

    explainers: Annotated[tuple[Name, ...], FromList]
    excerpt_tokens: Annotated[int, Field(ge=4)] = Field(default=32, description="tokens of an excerpt")

    @abstractmethod
    def calls(self, excerpts: int) -> int:
        """Return how many LLM calls judge so many excerpts."""


class Detection(Judging):
    """Does the excerpt contain what the explanation describes? (Paulo et al. 2024)."""

    needs: ClassVar[Capability] = "reply"
    prompts: ClassVar[tuple[JudgingLayout, ...]] = ("detection",)

    kind: Literal["detection"] = "detection"
    same_token: bool = Field(
        default=True, description="also ask about excerpts with a peak's token on which the neuron is silent"
    )
    near_text: EncoderSpec | None = Field(
        default=None, description="encoder by which silent excerpts nearest to the firing ones are found"
    )

    def calls(self, excerpts: int) -> int:
        """Return one an excerpt."""
        return excerpts


class Fuzzing(Judging):
    """Are the marked tokens those on which the neuron fires? (Paulo et al. 2024)."""

    needs: ClassVar[Capability] = "reply"
    prompts: ClassVar[tuple[JudgingLayout, ...]] = ("fuzzing",)

    kind: Literal["fuzzing"] = "fuzzing"

    def calls(self, excerpts: int) -> int:
        """Return one an excerpt."""
        return excerpts


class Retrieval(EncoderSpec, Judging):
    """Ranks excerpts by the similarity of a sentence encoder's vectors to that of the explanation."""

    needs: ClassVar[Capability] = "encoder"
    prompts: ClassVar[tuple[JudgingLayout, ...]] = ()

    kind: Literal["retrieval"] = "retrieval"
    same_token: bool = True

    def calls(self, excerpts: int) -> int:
        """Return none: no LLM is asked."""
        del excerpts
        return 0


def judged_measures(spec: Judging) -> tuple[str, ...]:
    """Return the scores that a judging scorer gives."""
    return ("auc",) if isinstance(spec, Retrieval) else ("balanced_accuracy", "auc")


class Ablation(Section):
    """Does the subject go on as before when the neuron is replaced by its simulation? (Bills et al. 2023)."""

    needs: ClassVar[Capability] = "subject"

    kind: Literal["ablation"] = "ablation"
    simulators: Annotated[tuple[Name, ...], FromList]


ScorerSpec = Annotated[Detection | Fuzzing | Retrieval | Ablation, Field(discriminator="kind")]

SCORER_KINDS: dict[str, type[BaseModel]] = {
    "detection": Detection,
    "fuzzing": Fuzzing,
    "retrieval": Retrieval,
    "ablation": Ablation,
}
