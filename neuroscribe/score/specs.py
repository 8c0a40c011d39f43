"""How a study's explanations are scored, beside the correlation that every simulator gives."""

from typing import Annotated

from pydantic import Field

from neuroscribe.sections import Positive, Section


class ScoringSpec(Section):
    """How agreement is measured."""

    sequences_per_split: Positive = Field(default=5, description="top exemplars, and as many random ones")
    bootstrap_samples: Annotated[int, Field(gt=0, le=100_000)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.5
