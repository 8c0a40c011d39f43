"""Whether scores mean what they say: held against the whole corpus, on neurons that nothing was tuned on.

All activations of three layers of the default study's subject are captured, so that the agreement on the
whole corpus is known and not estimated; thirty ordinary and thirty sparse neurons each get seven labels of
known worth (`labels.py`). The product's draws and measures are what runs; `paper` is top and random with a
percentile bootstrap, for comparison.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, figure
from benchmarks.labels import LABELS
from benchmarks.validity_controls import better
from benchmarks.validity_pictures import draw_coverage, draw_too_broad
from benchmarks.validity_trials import Trial, trials
from benchmarks.validity_twin import gaps
from benchmarks.whole_corpus import (
    Text,
    TrueNeuron,
    default_study,
    default_text,
    opened_subject,
    true_neurons,
    whole_layers,
)
from neuroscribe.measures.estimate import Estimate

LAYERS = (5, 14, 24)
"""Others than those that intervals were tuned on: 0, 10, 20."""
NEURONS, REPEATS, SEED = 30, 40, 8
COUNT, FEW = 20, 10
"""Sequences drawn by default, and the fewest allowed."""
HALF, SLACK = 0.5, 0.02
"""Of the exact label's score; and what means over draws may be off by, as estimates may."""
CLEAR = 0.1
"""Difference of two labels on the corpus from which a score is to order them rightly."""
PICTURES = Path(__file__).parent.parent / "docs" / "scores"
"""Where the pictures of docs/scores.md lie."""


def validity_figures() -> Iterator[Figure]:
    """Yield the figures, and draw the pictures of the page about scores."""
    study, environment = default_study()
    text, subject = default_text(study, environment), opened_subject(study, environment)
    whole = whole_layers(subject, text.tokens, LAYERS)
    neurons = true_neurons(whole, each=NEURONS, seed=SEED)
    tried = {kind: _tried(each, text, COUNT) for kind, each in neurons.items()}
    for kind, each in tried.items():
        yield from _estimate_figures(kind, each)
        yield from _design_figures(kind, neurons[kind], text)
    yield from _control_figures(neurons, text)
    untrained = opened_subject(study, environment, randomised=True)
    twin = whole_layers(untrained, text.tokens, LAYERS)
    for name, layers in (("twin", twin), ("trained", whole)):
        values = gaps(layers, text, neurons=NEURONS, seed=SEED)
        yield figure(f"validity.{name}_gap", [float(np.mean(values))], "correlation", n=len(values))
    draw_coverage({kind: coverages(each) for kind, each in tried.items()}, PICTURES / "coverage.png")
    draw_too_broad({kind: too_broad(each) for kind, each in tried.items()}, PICTURES / "too_broad.png")


def _tried(neurons: Sequence[TrueNeuron], text: Text, count: int, *, near: bool = False) -> list[Trial]:
    documents = text.sequences["document_id"].to_numpy()
    return list(trials(neurons, text.tokens, documents, count=count, repeats=REPEATS, near=near))


def _estimate_figures(kind: str, tried: Sequence[Trial]) -> Iterator[Figure]:
    """Yield what the score is worth, and beside it the paper's."""
    n = len(tried) * REPEATS
    for name, which in (("", "estimates"), ("paper.", "paper")):
        bias, rmse, coverage = worth(tried, which)
        yield figure(f"validity.bias.{name}{kind}", [bias], "correlation", n=n)
        yield figure(f"validity.rmse.{name}{kind}", [rmse], "correlation", n=n)
        yield figure(f"validity.coverage.{name}{kind}", [coverage], "of 95 % intervals", n=n)
        right, pairs = ordered(tried, which)
        yield figure(f"validity.order.{name}{kind}", [right], "of clear pairs of labels", n=pairs)
    ratios = np.array(too_broad(tried))
    for name, column in (("corpus.", 0), ("", 1), ("paper.", 2)):
        median = float(np.median(ratios[:, column]))
        yield figure(f"validity.too_broad_ratio.{name}{kind}", [median], "x the exact label", n=len(ratios))
    # Where such a label is worth at most half of the exact one, it is to score so.
    half = ratios[ratios[:, 0] <= HALF]
    for name, column in (("", 1), ("paper.", 2)):
        share = float((half[:, column] <= HALF + SLACK).mean())
        yield figure(f"validity.too_broad_halved.{name}{kind}", [share], "of neurons", n=len(half))


def _design_figures(kind: str, neurons: Sequence[TrueNeuron], text: Text) -> Iterator[Figure]:
    """Yield the same of other draws: the fewest, and those with a stratum near the label."""
    for name, count, near in (("few", FEW, False), ("near", COUNT, True), ("few_near", FEW, True)):
        tried = _tried(neurons, text, count, near=near)
        n = len(tried) * REPEATS
        bias, rmse, coverage = worth(tried, "estimates")
        yield figure(f"validity.bias.{name}.{kind}", [bias], "correlation", n=n)
        yield figure(f"validity.rmse.{name}.{kind}", [rmse], "correlation", n=n)
        yield figure(f"validity.coverage.{name}.{kind}", [coverage], "of 95 % intervals", n=n)


def _control_figures(neurons: Mapping[str, Sequence[TrueNeuron]], text: Text) -> Iterator[Figure]:
    """Yield how often an unrelated explanation is called clearly better, and how often the right one."""
    together = [neuron for each in neurons.values() for neuron in each]
    for name, related in (("false_better", False), ("true_better", True)):
        called = better(together, text, related=related, seed=SEED)
        yield figure(f"validity.{name}", [float(np.mean(called))], "of explanations", n=len(called))


def worth(tried: Sequence[Trial], which: str) -> tuple[float, float, float]:
    """Return bias, root mean squared error, and the share of intervals that hold the corpus's value."""
    error, inside = [], []
    for trial in tried:
        for estimate in estimates(trial, which):
            error.append((estimate.value or 0.0) - trial.corpus)
            inside.append(holds(estimate, trial.corpus))
    return float(np.mean(error)), float(np.sqrt(np.mean(np.square(error)))), float(np.mean(inside))


def ordered(tried: Sequence[Trial], which: str) -> tuple[float, int]:
    """Return how often the better of two clearly different labels of a neuron scores higher, of how many."""
    by_neuron: dict[int, list[Trial]] = {}
    for trial in tried:
        by_neuron.setdefault(trial.neuron, []).append(trial)
    right: list[bool] = []
    for labels in by_neuron.values():
        for one, other in combinations(labels, 2):
            if abs(one.corpus - other.corpus) > CLEAR:
                pairs = zip(estimates(one, which), estimates(other, which), strict=True)
                better = one.corpus > other.corpus
                right += [((a.value or 0.0) > (b.value or 0.0)) == better for a, b in pairs]
    return float(np.mean(right)), len(right)


def too_broad(tried: Sequence[Trial]) -> list[tuple[float, float, float]]:
    """Return, by neuron, what a label with five times as many tokens gets over what the exact one gets.

    On the corpus, by the score and by the paper's; each the mean over all draws.
    """
    by_label = {(trial.neuron, trial.label): trial for trial in tried}
    ratios: list[tuple[float, float, float]] = []
    for neuron in sorted({trial.neuron for trial in tried}):
        exact, broad = (by_label[neuron, name] for name in ("exact", "broad, other words"))
        means = [[_mean(trial.estimates), _mean(trial.paper)] for trial in (broad, exact)]
        score, paper = (upper / lower for upper, lower in zip(*means, strict=True))
        ratios.append((broad.corpus / exact.corpus, score, paper))
    return ratios


def coverages(tried: Sequence[Trial]) -> dict[str, tuple[float, float]]:
    """Return, by kind of label, the coverage of the score's intervals and of the paper's."""
    return {
        label: (worth(each, "estimates")[2], worth(each, "paper")[2])
        for label in LABELS
        if (each := [trial for trial in tried if trial.label == label])
    }


def estimates(trial: Trial, which: str) -> list[Estimate]:
    """Return a trial's scores, or the paper's."""
    return trial.paper if which == "paper" else trial.estimates


def holds(estimate: Estimate, value: float) -> bool:
    """Tell whether an interval holds a value; one that is not there does not."""
    low, high = estimate.ci_low, estimate.ci_high
    return low is not None and high is not None and low <= value <= high


def _mean(scores: Sequence[Estimate]) -> float:
    return float(np.mean([score.value or 0.0 for score in scores]))
