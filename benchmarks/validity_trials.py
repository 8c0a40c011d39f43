"""Scores labels of known worth many times over, by the product's draws and by the paper's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.labels import LABELS, Given, Label, Tokens, simulated
from benchmarks.whole_corpus import TOP_K, TrueNeuron
from neuroscribe.capture.neuron_records import TOP_SPLITS
from neuroscribe.evidence.drawn import STRATA, drawn
from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.measures.estimate import Estimate

PER_KIND = 5
"""Top sequences, and random ones, of the paper's score."""
RESAMPLES = 500
RECALL, FALSE_ALARMS = 0.8, 0.05
"""Of an encoder that is to find the sequences in which a label covers a token."""

Sequences = Int[np.ndarray, " sequence"]


@dataclass(frozen=True)
class Population:
    """The sequences that an estimate stands for: those whose documents the explainer has not seen."""

    places: Sequences
    """In the corpus."""
    truth: Float[np.ndarray, "sequence token"]

    @classmethod
    def of(cls, neuron: TrueNeuron, documents: Sequences) -> "Population":
        """Return what is left of the corpus once the exemplars that an explainer is shown are taken out."""
        top = np.argsort(-neuron.peaks, kind="stable")[:TOP_K]
        shown = [place for rank, place in enumerate(top) if TOP_SPLITS[rank % len(TOP_SPLITS)] == "train"]
        places = np.flatnonzero(~np.isin(documents, documents[shown]))
        return cls(places, neuron.values[places])

    @property
    def peaks(self) -> Float[np.ndarray, " sequence"]:
        """The largest activation in each sequence."""
        return self.truth.max(axis=1)

    def sampled(
        self,
        count: int,
        repeats: int,
        *,
        seed: Sequence[int],
        covered: Bool[np.ndarray, " sequence"] | None = None,
    ) -> tuple[Int[np.ndarray, "repeat drawn"], Draws]:
        """Draw as the product does, again and again; with `covered`, an encoder points at these sequences."""
        generator = np.random.default_rng(seed)
        each = []
        for _ in range(repeats):
            order, nearness = generator.permutation(len(self.places)), None
            if covered is not None:
                found = np.where(covered, RECALL, FALSE_ALARMS) > generator.random(len(covered))
                nearness = found.astype(np.float64)
            each.append(drawn(self.peaks, order, count=count, top=TOP_K, nearness=nearness))
        strata = np.array([[STRATA.index(name) for name in draw.strata] for draw in each])
        sizes = np.array([draw.sizes for draw in each], dtype=np.float64)
        return np.array([draw.places for draw in each]), Draws(strata, sizes)

    def top_and_random(self, repeats: int, *, seed: Sequence[int]) -> Int[np.ndarray, "repeat drawn"]:
        """Draw as the paper does: top sequences at even distances, and as many random ones of the others."""
        generator = np.random.default_rng(seed)
        ranked = np.argsort(-self.peaks, kind="stable")
        top = ranked[((np.arange(PER_KIND) + 0.5) * TOP_K / PER_KIND).astype(np.int64)]
        random = [generator.permutation(ranked[TOP_K:])[:PER_KIND] for _ in range(repeats)]
        return np.concatenate([np.tile(top, (repeats, 1)), random], axis=1)


@dataclass(frozen=True)
class Trial:
    """One label of one neuron: its agreement on the whole population, and repeated estimates of that."""

    neuron: int
    label: str
    corpus: float
    estimates: list[Estimate]
    paper: list[Estimate]
    """The paper's score, with the interval that was published for it: the percentile bootstrap."""


def trials(
    neurons: Sequence[TrueNeuron],
    tokens: Tokens,
    documents: Sequences,
    *,
    count: int,
    repeats: int,
    near: bool = False,
) -> Iterator[Trial]:
    """Yield every label of every neuron, scored from `count` draws `repeats` times.

    All labels of a neuron share their draws, as a study's candidates do, unless an encoder draws `near` each.
    """
    for place, neuron in enumerate(neurons):
        population = Population.of(neuron, documents)
        seed = [neuron.layer, neuron.neuron]
        places, draws = population.sampled(count, repeats, seed=[*seed, 1])
        paper = population.top_and_random(repeats, seed=[*seed, 2])
        for name, label in readings(neuron, tokens, seed=[*seed, 3]):
            read = label[population.places]
            if near:
                covered = (read >= 5).any(1)
                places, draws = population.sampled(count, repeats, seed=[*seed, 1], covered=covered)
            truth = population.truth
            yield Trial(
                place,
                name,
                agreement(truth, read),
                correlations(truth[places], read[places], draws),
                bootstrapped(truth[paper], read[paper], seed=0),
            )


def readings(neuron: TrueNeuron, tokens: Tokens, *, seed: Sequence[int]) -> Iterator[tuple[str, Label]]:
    """Yield each label's name and what a simulator makes of it."""
    generator = np.random.default_rng(seed)
    given = Given(neuron, tokens, generator)
    for name, label in LABELS.items():
        yield name, simulated(label(given), tokens, generator)


def agreement(truth: Float[np.ndarray, "sequence token"], read: Label) -> float:
    """Return the correlation over all tokens of a whole population."""
    return float(np.corrcoef(truth.ravel(), read.ravel())[0, 1])


def bootstrapped(
    truth: Float[np.ndarray, "repeat drawn token"],
    read: Float[np.ndarray, "repeat drawn token"],
    *,
    seed: int,
) -> list[Estimate]:
    """Return unweighted correlations over all tokens, each with the middle 95 % of resampled sequences."""
    units = truth.shape[1]
    chosen = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=RESAMPLES)
    parts = (np.ones_like(truth), truth, read, truth**2, read**2, truth * read)
    sums = np.stack([part.sum(2) for part in parts], axis=2)
    values, spread = _pearson(sums.sum(1)), _pearson(chosen.astype(np.float64) @ sums)
    bounds = np.nanquantile(spread, (0.025, 0.975), axis=1)
    return [Estimate(*map(float, row), null_reason=None) for row in zip(values, *bounds, strict=True)]


def _pearson(sums: Float[np.ndarray, "*shape 6"]) -> Float[np.ndarray, "*shape"]:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    return (xy - x * y / n) / np.sqrt((xx - x * x / n) * (yy - y * y / n))
