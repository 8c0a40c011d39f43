"""Which sequences and neurons are drawn, from seeds alone, before anything is known of the activations."""

import random
from collections.abc import Mapping, Sequence

import polars as pl

from neuroscribe.capture.state import CapturePlan, Pool
from neuroscribe.errors import StudyError
from neuroscribe.studies import Study

SET_ASIDE_REASONS = ("dead", "near_dead", "silent")
"""Why a neuron or side is not explained: never active on a studied side, active in too few sequences there,
or never on the side that the sample asks for."""
_FACTS = ("neuron", "min", "max", "dead", "near_dead")
_SPARE = 8
"""Candidates beyond the sample, to stand in for dead neurons."""


QUANTILES = (0.0, 0.5, 0.9, 0.99, 0.999)
"""Bounds of the paper's quantile bands, as shares of sequences by peak."""
_POOLED = (0.9, 0.99)
"""Lower bounds of the bands that are too rare among the shared random sequences."""
_LIKELY, _ROOM = 4, 5
"""More sequences than are asked for that a pool probably has in its band, and that it has room for."""


def random_sequences(study: Study) -> tuple[int, ...]:
    """Return the ids of the shared random sequences, ascending."""
    if study.capture.random_sequences + study.capture.top_k > study.corpus.sequences:
        raise StudyError(
            f"study {study.name}: {study.corpus.sequences} sequences are too few for"
            f" top_k = {study.capture.top_k} and random_sequences = {study.capture.random_sequences};"
            " raise corpus.sequences"
        )
    generator = random.Random(f"random sequences {study.corpus.seed}")  # noqa: S311 - a seeded draw
    return tuple(sorted(generator.sample(range(study.corpus.sequences), study.capture.random_sequences)))


def quantile_pools(
    sequences: int, random_ids: tuple[int, ...], *, exemplars: int, seed: int
) -> tuple[Pool, ...]:
    """Return the pools from which exemplars of the upper quantile bands are drawn, one per band.

    Each is a random set just large enough to reach into its band; none holds a shared random sequence.
    """
    free = sorted(set(range(sequences)) - set(random_ids))
    pools: list[Pool] = []
    for bound in _POOLED if exemplars else ():
        size = min(len(free), round((exemplars + _LIKELY) / (1 - bound)))
        generator = random.Random(f"quantile pool {bound} {seed}")  # noqa: S311 - a seeded draw
        pools.append(Pool(tuple(sorted(generator.sample(free, size))), exemplars + _LIKELY + _ROOM))
    return tuple(pools)


def candidate_neurons(study: Study, layer: int) -> tuple[int, ...]:
    """Return the neurons among which the layer's sample is chosen, in order of preference."""
    neurons = list(range(study.subject.neurons_per_layer))
    if study.sample.neurons_per_layer == "all":
        return tuple(neurons)
    random.Random(f"neurons {study.sample.seed} {layer}").shuffle(neurons)  # noqa: S311 - a seeded draw
    return tuple(neurons[: study.sample.neurons_per_layer + max(_SPARE, study.sample.neurons_per_layer)])


def capture_plan(study: Study, layers: Sequence[int], distinct_tokens: int) -> CapturePlan:
    """Return what a capture of these layers keeps.

    Raises StudyError when the token-lookup tables would exceed the study's budget, with the ways out.
    """
    lookup = {layer: candidate_neurons(study, layer) for layer in layers}
    columns = len(study.polarities) * sum(len(neurons) for neurons in lookup.values())
    needed = 8 * distinct_tokens * columns
    limit = study.capture.lookup_gib * 2**30
    if needed > limit:
        fitting = int(len(layers) * limit / needed)
        fewer = f" select fewer layers per run (a backfill over {fitting} fits)," if fitting else ""
        raise StudyError(
            f"study {study.name}: token-lookup tables for {len(layers)} layers need {needed / 2**30:.1f} GiB,"
            f" capture.lookup_gib allows {study.capture.lookup_gib:g}; raise it,{fewer} or lower"
            " sample.neurons_per_layer"
        )
    return kept_sequences(study, lookup)


def kept_sequences(study: Study, lookup: Mapping[int, tuple[int, ...]]) -> CapturePlan:
    """Return what a capture keeps, with these neurons' token-lookup tables."""
    random_ids = random_sequences(study)
    pools = quantile_pools(
        study.corpus.sequences,
        random_ids,
        exemplars=study.capture.quantile_exemplars,
        seed=study.corpus.seed,
    )
    return CapturePlan(
        study.capture.top_k,
        study.polarities,
        random_ids,
        lookup,
        pools,
        token_histogram=study.capture.token_histogram,
    )


def sampled_neurons(study: Study, layer: int, statistics: pl.DataFrame) -> tuple[tuple[int, int], ...]:
    """Return the (neuron, polarity) pairs to explain: the first candidates that fire on a side in question.

    `statistics` is the layer's table. Near-dead neurons are passed over, and a polarity without any
    activation on its side is left out; `set_aside` names them.
    """
    sides, _ = _sample(study, layer, statistics)
    return tuple((neuron, polarity) for neuron in sorted(sides) for polarity in sides[neuron])


def set_aside(study: Study, layer: int, statistics: pl.DataFrame) -> pl.DataFrame:
    """Return what is set aside before any call, as columns layer, neuron, polarity and reason.

    These are the neurons passed over on the way to the sample, and the silent sides of those in it. The
    polarity is null where the whole neuron is meant; reasons are those of SET_ASIDE_REASONS.
    """
    sides, passed = _sample(study, layer, statistics)
    rows = [(layer, neuron, None, reason) for neuron, reason in passed.items()]
    if study.sample.polarity == "both":
        for neuron, own in sides.items():
            rows += [(layer, neuron, side, "silent") for side in (1, -1) if side not in own]
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
        own = facts[neuron]
        firing = _sides(study.sample.polarity, own["min"], own["max"])
        if own["dead"] or own["near_dead"]:
            passed[neuron] = "dead" if own["dead"] else "near_dead"
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
