"""The names of all scores of a study: which scorers an explainer's explanations are due, on which regimes."""

from collections.abc import Mapping
from dataclasses import dataclass

from neuroscribe.study.scoring import MEASURES, SIZES
from neuroscribe.study.spec import Study

REGIMES = ("top_and_random", "random_only")

RANGES: Mapping[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(("correlation", "contrast"), (-1.0, 1.0)),
    **dict.fromkeys(("r2", "deviation", "ablation"), (None, 1.0)),
    **dict.fromkeys(("balanced_accuracy", "auc"), (0.0, 1.0)),
}
"""Least and largest value by measure; the middle ones have no least value."""


@dataclass(frozen=True)
class Due:
    """One score that every explanation of an explainer gets."""

    explainer: str
    scorer: str
    measure: str
    source: str
    """The simulator, or the judging scorer, that it rests on."""
    regimes: tuple[str, ...]
    chosen_by: str
    """The scorer whose value on `valid` decides among candidates."""


def scorer_name(simulator: str, measure: str = MEASURES[0]) -> str:
    """Return the name under which a measure of a simulator is published."""
    return f"{measure}_{simulator}"


def unfitted(study: Study) -> tuple[str, ...]:
    """Return the scorers that compare sizes of activations which no calibration has fitted to the truth.

    Uncalibrated, a simulated 10 stands for the neuron's largest activation, which random sequences never come
    near: r2 and deviation then say how far off that is, and not what the explanation explains.
    """
    if study.scoring.calibration != "none":
        return ()
    return tuple(scorer_name(name, measure) for measure in SIZES for name in study.simulators)


def dues(study: Study) -> list[Due]:
    """Return all scores of a study: correlations first, then the other measures, then the scorers'.

    Among candidates the correlation decides for all that rests on a simulator (the paper's preferred score),
    a judge's first measure for the others of that judge.
    """
    simulated = [
        Due(explainer, scorer_name(name, measure), measure, name, REGIMES, scorer_name(name))
        for measure in MEASURES
        for name, spec in study.simulators.items()
        for explainer in spec.explainers
    ]
    judged = [
        Due(explainer, f"{name}_{measure}", measure, name, REGIMES[:1], f"{name}_{spec.measures[0]}")
        for name, spec in study.judging.items()
        for measure in spec.measures
        for explainer in spec.explainers
    ]
    ablated = [
        Due(explainer, f"{name}_{simulator}", "ablation", simulator, REGIMES, scorer_name(simulator))
        for name, spec in study.ablating.items()
        for simulator in spec.simulators
        for explainer in study.simulators[simulator].explainers
    ]
    return [*simulated, *judged, *ablated]
