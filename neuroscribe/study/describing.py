"""Which explainers may describe a neuron, and by whose scores on `valid` one of their texts is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

from neuroscribe.study.kinds import ExplainerSpec, SimulatorSpec
from neuroscribe.study.scoring import ScoringSpec
from neuroscribe.study.sections import Name


@dataclass(frozen=True)
class Describing:
    """The explainers whose texts contend for a neuron, and the simulator that decides between them."""

    simulator: Name
    explainers: tuple[Name, ...]
    """In the order of the study; none where the simulator reads no explainer that describes."""
    rivals: tuple[Name, ...] = ()
    """What some of them must beat; they are scored beside them, and describe nothing."""

    @property
    def weighed(self) -> tuple[Name, ...]:
        """The explainers that are scored on `valid` for the choice; none where there is nothing to choose."""
        every = (*self.explainers, *self.rivals)
        return every if len(every) > 1 else ()


def describing(
    explainers: Mapping[Name, ExplainerSpec], simulators: Mapping[Name, SimulatorSpec], scoring: ScoringSpec
) -> Describing:
    """Return who describes a study's neurons, by `scoring.decides` or what stands for it.

    Unless one is named, the first simulator that costs nothing and reads two explainers that describe
    decides: what is asked is never asked twice as much unasked. Where there is none, nothing is chosen, and
    the first explainer of the first simulator describes. Raises ValueError for a simulator that reads nothing
    that could describe, or not all that is explained, where a rival is not read, and where texts shall be
    ranked and cannot for nothing.
    """
    found = _found(explainers, simulators, scoring.decides)
    decides = simulators[found.simulator]
    for key in ("layers", "neurons_per_layer"):
        if getattr(decides, key) != "all":
            raise ValueError(
                f"simulators.{found.simulator}.{key}: this simulator decides which text describes a neuron,"
                f" of all that are explained; remove it (sample.{key} says what is explained), or name"
                " another simulator in scoring.decides"
            )
    ranks = found.weighed and simulators[found.simulator].costs_nothing
    if scoring.simulated_candidates and not ranks:
        raise ValueError(
            "scoring.simulated_candidates needs a simulator that costs nothing and reads two explainers that"
            " describe, to find the best texts; add [simulators.embedding] with these, or remove the setting"
        )
    return found


def _found(
    explainers: Mapping[Name, ExplainerSpec], simulators: Mapping[Name, SimulatorSpec], decides: Name | None
) -> Describing:
    if decides is not None:
        return _decided(explainers, simulators, decides)
    for name, spec in simulators.items():
        contending = _contending(explainers, spec)
        if spec.costs_nothing and (len(contending) > 1 or any(explainers[each].rival for each in contending)):
            return _decided(explainers, simulators, name)
    for name, spec in simulators.items():
        if contending := _contending(explainers, spec):
            return Describing(name, contending[:1])
    return Describing(next(iter(simulators)), ())


def _decided(
    explainers: Mapping[Name, ExplainerSpec], simulators: Mapping[Name, SimulatorSpec], name: Name
) -> Describing:
    if name not in simulators:
        raise ValueError(
            f"scoring.decides = {name!r} is not among the simulators {', '.join(simulators)}; correct it, or"
            f" add [simulators.{name}]"
        )
    contending = _contending(explainers, simulators[name])
    if not contending:
        raise ValueError(
            f"scoring.decides = {name!r}, but simulators.{name}.explainers names none whose texts describe a"
            " neuron; add one, or name another simulator"
        )
    rivals = {each: explainers[each].rival for each in contending}
    for each, rival in rivals.items():
        if rival is not None and rival not in simulators[name].explainers:
            raise ValueError(
                f"explainers.{each} describes a neuron only where it beats {rival!r}, which simulators.{name}"
                f" does not read; add {rival!r} to simulators.{name}.explainers"
            )
    return Describing(name, contending, tuple(dict.fromkeys(filter(None, rivals.values()))))


def _contending(explainers: Mapping[Name, ExplainerSpec], simulator: SimulatorSpec) -> tuple[Name, ...]:
    return tuple(
        name
        for name, spec in explainers.items()
        if name in simulator.explainers and spec.describes and spec.half == "input"
    )
