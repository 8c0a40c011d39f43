"""Names by which one part of a study speaks of another, and what explainers must find in their study."""

from collections.abc import Mapping, Sequence
from typing import Literal

from neuroscribe.study.kinds import ExplainerSpec


def check_names(key: str, names: Sequence[str], known: Mapping[str, object]) -> None:
    """Raise ValueError for a name that is given twice or is not known."""
    if len(set(names)) < len(names):
        raise ValueError(f"{key} names one twice; remove it")
    if unknown := set(names) - set(known):
        kind = "explainers" if key.endswith(".of") else key.rpartition(".")[2]
        raise ValueError(
            f"{key} names {sorted(unknown)[0]!r}, which is not among the {kind} {', '.join(sorted(known))};"
            f" correct it, or add [{kind}.{sorted(unknown)[0]}]"
        )


def check_layers(key: str, layers: Sequence[int] | Literal["all"], count: int) -> None:
    """Raise ValueError for a layer that a subject with `count` layers does not have."""
    named = () if layers == "all" else layers
    if outside := [layer for layer in named if not 0 <= layer < count]:
        raise ValueError(
            f"{key} names layer {outside[0]}, but the subject has layers 0 to {count - 1}; remove it or"
            " correct subject.layers"
        )


def check_explainers(
    explainers: Mapping[str, ExplainerSpec], *, llm: str, paraphraser: str | None, has_encoder: bool
) -> None:
    """Raise ValueError where an explainer lacks what it builds on, the encoder or the model that it needs.

    `llm` and `paraphraser` are the names of the models that explain and that put in other words.
    """
    for name, spec in explainers.items():
        _check_chain(name, explainers)
        spec.check_beside(name, explainers)
        if spec.uses_encoder and not has_encoder:
            raise ValueError(
                f"explainers.{name} needs a sentence encoder, and none of the simulators and scorers has one;"
                " add [simulators.embedding]"
            )
        if spec.asks == "paraphraser_llm":
            _check_paraphraser(name, llm, paraphraser)


def _check_chain(name: str, explainers: Mapping[str, ExplainerSpec]) -> None:
    """Go back from an explainer to those that it builds on."""
    check_names(f"explainers.{name}.of", explainers[name].builds_on, explainers)
    before = set(explainers[name].builds_on)
    while True:
        if name in before:
            raise ValueError(f"explainers.{name}.of leads back to itself; name one that goes before")
        further = {other for one in before & set(explainers) for other in explainers[one].builds_on}
        if further <= before:
            break
        before |= further
    for other in explainers[name].builds_on:
        if explainers[other].half != explainers[name].half:
            raise ValueError(
                f"explainers.{name}.of names {other!r}, which explains the {explainers[other].half} half of a"
                f" neuron, and not the {explainers[name].half} half; name another"
            )


def _check_paraphraser(name: str, llm: str, paraphraser: str | None) -> None:
    if paraphraser is None:
        raise ValueError(
            f"explainers.{name} asks [paraphraser_llm], which the study lacks; add it, with another model"
            " than that of [llm]"
        )
    if paraphraser == llm:
        raise ValueError(
            f"paraphraser_llm.model is {llm!r}, as llm.model is: in its own words a model keeps what only it"
            " understands; name another model"
        )
