"""How neurons are amplified to see what they do, and what is kept of it."""

from typing import Annotated

from pydantic import Field

from neuroscribe.study.sections import Section, Seed


class AmplifyingSpec(Section):
    """How strongly a neuron is held, on what text, and how much the subject then says.

    A neuron of a late layer may be held at its largest activation and change next to nothing, one of an early
    layer break every sentence; so all are held where they change the predictions alike.
    """

    divergence: Annotated[float, Field(gt=0, le=20)] = Field(
        default=2.0,
        description="how far predictions are to move, in nats (mean Kullback-Leibler divergence from those"
        " without); a neuron is held at 1 to `most` times its largest activation",
    )
    most: Annotated[float, Field(ge=1, le=1024)] = Field(
        default=64.0, description="largest multiple of its largest activation at which a neuron is held"
    )
    prompts: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=15,
        description="openings of sequences that the subject goes on from; as many others are read for tokens",
    )
    prompt_tokens: Annotated[int, Field(ge=1, le=1000)] = 6
    tokens: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=14, description="tokens that the subject says after each opening"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.7, description="of the draws of tokens; 0: always the likeliest one"
    )
    listed: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20, description="tokens kept of those made likelier, and of those made less likely"
    )
    seed: Seed = 0
