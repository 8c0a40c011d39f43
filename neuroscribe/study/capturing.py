"""What a study keeps of the activations of all its neurons."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroscribe.study.sections import Section

MOST_KEPT = 10**6
"""Sequences kept of a kind."""


class CaptureSpec(Section):
    """What is kept of the activations."""

    polarities: Literal["positive", "both"] = Field(
        default="positive",
        description="`both` for units whose activations are symmetric, as in gated MLPs",
    )
    top_k: Annotated[int, Field(ge=4, le=MOST_KEPT)] = 20
    random_sequences: Annotated[int, Field(ge=6, le=MOST_KEPT)] = 30
    random_exemplars: Annotated[int, Field(ge=3, le=MOST_KEPT)] = 15
    quantile_exemplars: Annotated[int, Field(ge=0, le=MOST_KEPT)] = 1
    token_histogram: bool = Field(
        default=True,
        description="count every activation in a bin, for the statistics' histogram and quantiles; the"
        " capture is faster without, and exemplars do not need it",
    )
    whole: Literal["none", "bf16", "uint8"] = Field(
        default="none",
        description="store every activation as well (docs/whole_activations.md); large: 2 bytes or 1 each",
    )
    lookup_gib: Annotated[float, Field(gt=0)] = Field(
        default=4.0,
        description="without effect: it limited token-lookup sums, which a capture no longer takes",
    )

    @model_validator(mode="after")
    def enough_random(self) -> "CaptureSpec":
        """Random exemplars are drawn from the shared random sequences."""
        if self.random_exemplars > self.random_sequences:
            raise ValueError(
                f"random_exemplars = {self.random_exemplars} exceeds random_sequences ="
                f" {self.random_sequences}; raise random_sequences"
            )
        return self
