"""Whether scorers have what they need: explanations of the half of a neuron that they test, an encoder."""

from collections.abc import Mapping, Sequence

from neuroscribe.study.kinds import (
    ChoosingSpec,
    ExplainerSpec,
    Half,
    JudgeSpec,
    KindSpec,
    SimulatorSpec,
    WritingSpec,
)
from neuroscribe.study.sections import EncoderSpec


def check_halves(
    explainers: Mapping[str, ExplainerSpec],
    simulators: Mapping[str, SimulatorSpec],
    scorers: Mapping[str, KindSpec],
) -> None:
    """Raise ValueError for a scorer of one half of a neuron that is given explanations of the other one.

    Simulations, judged excerpts and written sentences tell what a neuron fires on: of what it does they say
    nothing.
    """
    tests: list[tuple[str, tuple[str, ...], Half]] = [
        *((f"simulators.{name}", spec.explainers, "input") for name, spec in simulators.items()),
        *((f"scorers.{name}", *_tested(spec)) for name, spec in scorers.items()),
    ]
    for section, named, half in tests:
        for name in named:
            if (other := explainers[name].half) != half:
                raise ValueError(
                    f"{section}.explainers names {name!r}, which says {_SAID[other]}, and {section} tests"
                    f" explanations of {_SAID[half]}; take {name!r} out of it, or"
                    f" {_REMEDY[other]}"
                )


def check_encoder(choosing: Mapping[str, ChoosingSpec], encoders: Sequence[EncoderSpec]) -> None:
    """Raise ValueError where a sentence encoder is to choose, and the study has none."""
    for name, spec in choosing.items():
        if spec.uses_encoder and not encoders:
            raise ValueError(
                f'scorers.{name}.judge = "encoder" needs a sentence encoder, and no simulator or scorer of'
                ' the study has one; add [simulators.embedding], or let judge = "llm" choose'
            )


def _tested(spec: KindSpec) -> tuple[tuple[str, ...], Half]:
    if isinstance(spec, ChoosingSpec):
        return spec.explainers, spec.half
    return (spec.explainers if isinstance(spec, JudgeSpec | WritingSpec) else ()), "input"


_SAID: Mapping[Half, str] = {
    "input": "what a neuron fires on",
    "output": "what a neuron does to the next token",
}
_REMEDY: Mapping[Half, str] = {
    "input": "name it in a simulator",
    "output": "name it in [scorers.steering]",
}
