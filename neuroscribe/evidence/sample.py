"""Which neurons are explained: a seeded draw among those that fire, and why others are set aside.

Some more may be drawn among those that their tokens predict (`sample.recognisable`). And the sequences on
which all their activations are kept.
"""

import random
from collections.abc import Collection, Sequence

import polars as pl

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.study.spec import Study

SET_ASIDE_REASONS = ("dead", "near_dead", "silent")
"""Why a neuron or side is not explained: never active on a studied side, active in too few sequences there,
or never on the side that the sample asks for."""
_FACTS = ("neuron", "min", "max", "dead", "near_dead")


def candidate_neurons(study: Study, layer: int) -> tuple[int, ...]:
    """Return a layer's neurons in the order in which its sample prefers them."""
    neurons = list(range(study.subject.neurons_per_layer))
    if study.sample.neurons_per_layer != "all":
        random.Random(f"neurons {study.sample.seed} {layer}").shuffle(neurons)  # noqa: S311 - a seeded draw
    return tuple(neurons)


def sampled_sequences(study: Study) -> Sequence[int]:
    """Return the ids of the sequences on which all activations of the sample are kept, ascending.

    All of the corpus, or a seeded draw of `sample.sequences`, the same for every neuron and layer.
    """
    every, wanted = range(study.corpus.sequences), study.sample.sequences
    if wanted == "all" or wanted >= len(every):
        return every
    generator = random.Random(f"sampled sequences {study.sample.seed}")  # noqa: S311 - a seeded draw
    return sorted(generator.sample(every, wanted))


def sampled_neurons(study: Study, layer: int, statistics: pl.DataFrame) -> tuple[tuple[int, int], ...]:
    """Return the (neuron, polarity) pairs to explain: the first candidates that fire on a side in question.

    `statistics` is the layer's table. Near-dead neurons are passed over, and a polarity without any
    activation on its side is left out; `set_aside` names them.
    """
    sides, _ = _sample(study, layer, statistics)
    return tuple((neuron, polarity) for neuron in sorted(sides) for polarity in sides[neuron])


PREDICTED, FOREMOST = 0.6, 0.05
"""Recognisable is a side that its tokens predict with a correlation of at least the first, and that is among
this share of the layer's sides."""


def recognisable_neurons(
    study: Study, layer: int, statistics: pl.DataFrame, predictability: pl.DataFrame
) -> tuple[Neuron, ...]:
    """Return the further pairs to explain: a seeded draw among those that their tokens predict.

    `predictability` is the layer's table. Sides of the sample, dead and near-dead neurons, and sides that the
    sample would not explain are no part of the urn. They are fewer than `sample.recognisable` neurons where
    the urn holds fewer.
    """
    sides, _ = _sample(study, layer, statistics)
    alive = _alive(study, statistics)
    known = {(row[0], row[1]): row[2] for row in predictability.select(_PREDICTED).iter_rows()}
    every = {side: value for side, value in known.items() if side[1] in alive.get(side[0], ())}
    ranked = sorted((value for value in every.values() if value is not None), reverse=True)
    if not ranked:
        return ()
    bar = max(PREDICTED, ranked[max(0, round(FOREMOST * len(every)) - 1)])
    urn: dict[int, list[int]] = {}
    for (neuron, side), value in sorted(every.items()):
        if value is not None and value >= bar and neuron not in sides:
            urn.setdefault(neuron, []).append(side)
    draw = random.Random(f"recognisable {study.sample.seed} {layer}")  # noqa: S311 - a seeded draw
    drawn = draw.sample(list(urn), min(study.sample.recognisable, len(urn)))
    return tuple((neuron, side) for neuron in sorted(drawn) for side in sorted(urn[neuron], reverse=True))


_PREDICTED = ("neuron", "polarity", "predicted")


def _alive(study: Study, statistics: pl.DataFrame) -> dict[int, Collection[int]]:
    """Return the sides that would be explained of each neuron that is not dead or near-dead."""
    live = statistics.filter(~(pl.col("dead") | pl.col("near_dead")))
    return {
        neuron: _sides(study.sample.polarity, low, high)
        for neuron, low, high in live.select("neuron", "min", "max").iter_rows()
    }


def redrawn_neurons(study: Study, layer: int, neurons: Sequence[Neuron]) -> tuple[Neuron, ...]:
    """Return those of a layer's sample that are explained from other exemplars, too: a seeded draw."""
    count = min(study.scoring.stability_neurons, len(neurons))
    draw = random.Random(f"stability {study.sample.seed} {layer}")  # noqa: S311 - a seeded draw
    return tuple(sorted(draw.sample(list(neurons), count)))


def read_neurons(study: Study, layer: int, neurons: Sequence[Neuron], simulator: str) -> frozenset[Neuron]:
    """Return those of a layer's sample whose explanations a simulator reads: all, a seeded draw, or none."""
    spec = study.simulators[simulator]
    if not spec.reads_some(layer):
        return frozenset()
    wanted = spec.neurons_per_layer
    if wanted == "all" or wanted >= len(neurons):
        return frozenset(neurons)
    draw = random.Random(f"read by {simulator} {study.sample.seed} {layer}")  # noqa: S311 - a seeded draw
    return frozenset(draw.sample(list(neurons), wanted))


def set_aside(study: Study, layer: int, statistics: pl.DataFrame) -> pl.DataFrame:
    """Return what is set aside before any call, as columns layer, neuron, polarity and reason.

    These are the neurons passed over on the way to the sample, and the silent sides of those in it. The
    polarity is null where the whole neuron is meant; reasons are those of SET_ASIDE_REASONS.
    """
    sides, passed = _sample(study, layer, statistics)
    rows = [(layer, neuron, None, reason) for neuron, reason in passed.items()]
    if study.sample.polarity == "both":
        for neuron, firing in sides.items():
            rows += [(layer, neuron, side, "silent") for side in (1, -1) if side not in firing]
    schema = {"layer": pl.Int16, "neuron": pl.Int32, "polarity": pl.Int8, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("neuron", "polarity")


def _sample(
    study: Study, layer: int, statistics: pl.DataFrame
) -> tuple[dict[int, tuple[int, ...]], dict[int, str]]:
    """Return the sides of each neuron in the sample, and why candidates before them were passed over."""
    wanted = study.sample.neurons_per_layer
    facts = {row["neuron"]: row for row in statistics.select(_FACTS).iter_rows(named=True)}
    sides: dict[int, tuple[int, ...]] = {}
    passed: dict[int, str] = {}
    for neuron in candidate_neurons(study, layer):
        if neuron not in facts:
            continue
        if len(sides) == wanted:
            break
        row = facts[neuron]
        firing = _sides(study.sample.polarity, row["min"], row["max"])
        if row["dead"] or row["near_dead"]:
            passed[neuron] = "dead" if row["dead"] else "near_dead"
        elif not firing:
            passed[neuron] = "silent"
        else:
            sides[neuron] = firing
    return sides, passed


def _sides(choice: str, low: float, high: float) -> tuple[int, ...]:
    """Return the polarities to explain of a neuron with these extremes."""
    both = tuple(side for side, fires in ((1, high > 0), (-1, low < 0)) if fires)
    match choice:
        case "both":
            return both
        case "stronger":
            return (1 if high >= -low else -1,) if both else ()
        case _:
            return (1,) if high > 0 else ()
