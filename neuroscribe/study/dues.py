"""The names of all scores of a study: which scorers an explainer's explanations are due, on which regimes."""

from collections.abc import Mapping
from dataclasses import dataclass

from neuroscribe.study.scoring import AGREEMENTS, SIZES
from neuroscribe.study.spec import Study

CORPUS = "corpus"
"""The regime of scores that estimate the agreement over the whole corpus: what is reported."""
PAPER = ("top_and_random", "random_only")
"""The regimes of Bills et al. 2023, for comparison: top and random exemplars alike, and random ones alone."""
AMPLIFIED = "amplified"
"""The regime of scores that tell what a neuron does: from what the subject says with it amplified."""
WRITTEN = "written"
"""The regime of scores from sentences that were written from the explanation, and are in no corpus."""
REGIMES = (CORPUS, *PAPER)
"""Those of simulations."""

RANGES: Mapping[str, tuple[float | None, float | None]] = {
    "correlation": (-1.0, 1.0),
    "cosine": (-1.0, 1.0),
    **dict.fromkeys(("r2", "deviation", "ablation"), (None, 1.0)),
    **dict.fromkeys(
        ("f1", "iou", "auprc", "balanced_accuracy", "auc", "sensitivity", "steering"), (0.0, 1.0)
    ),
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
    """By the first of them candidates are chosen, and results are reported."""
    chosen_by: str
    """The scorer whose value on `valid` decides among candidates."""


def scorer_name(simulator: str, measure: str = AGREEMENTS[0]) -> str:
    """Return the name under which a measure of a simulator is published."""
    return f"{measure}_{simulator}"


def dues(study: Study) -> list[Due]:
    """Return all scores of a study: correlations first, then the other measures, then the scorers'.

    Among candidates the correlation over the corpus decides for all that rests on a simulator, a judge's
    first measure for the others of that judge, and for sentences the first of these.
    """
    simulated = [
        Due(explainer, scorer_name(name, measure), measure, name, _regimes(measure), scorer_name(name))
        for measure in study.scoring.measures
        for name, spec in study.simulators.items()
        if measure in study.measures_of(name)
        for explainer in spec.explainers
    ]
    judged = [
        Due(explainer, f"{name}_{measure}", measure, name, PAPER[:1], f"{name}_{spec.measures[0]}")
        for name, spec in study.judging.items()
        for measure in spec.measures
        for explainer in spec.explainers
    ]
    ablated = [
        Due(explainer, f"{name}_{simulator}", "ablation", simulator, PAPER, scorer_name(simulator))
        for name, spec in study.ablating.items()
        for simulator in spec.simulators
        for explainer in study.simulators[simulator].explainers
    ]
    written = [
        Due(explainer, name, "sensitivity", name, (WRITTEN,), _decider(study, explainer, name))
        for name, spec in study.writing.items()
        for explainer in spec.explainers
    ]
    chosen = [
        Due(explainer, name, spec.measure, name, (spec.regime,), name)
        for name, spec in study.choosing.items()
        for explainer in spec.explainers
    ]
    return [*simulated, *judged, *ablated, *written, *chosen]


def _decider(study: Study, explainer: str, scorer: str) -> str:
    """Return what chooses among candidates for a scorer without a split `valid`: the first that has one.

    A simulator, else a judge; without either the scorer itself, by which the first candidate is chosen.
    """
    simulated = (scorer_name(name) for name, spec in study.simulators.items() if explainer in spec.explainers)
    judged = (
        f"{name}_{spec.measures[0]}" for name, spec in study.judging.items() if explainer in spec.explainers
    )
    return next(simulated, next(judged, scorer))


def _regimes(measure: str) -> tuple[str, ...]:
    if measure == "correlation":
        return REGIMES
    return PAPER if measure in SIZES else (CORPUS,)
