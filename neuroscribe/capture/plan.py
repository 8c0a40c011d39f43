"""Which sequences and neurons are drawn, from seeds alone, before anything is known of the activations."""

import random
from collections.abc import Mapping, Sequence

from neuroscribe.capture.state import CapturePlan, Pool
from neuroscribe.errors import StudyError
from neuroscribe.evidence.sample import candidate_neurons
from neuroscribe.study.spec import Study

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
    return drawn_ids(study.corpus.sequences, study.capture.random_sequences, seed=study.corpus.seed)


def drawn_ids(sequences: int, count: int, *, seed: int) -> tuple[int, ...]:
    """Return the ids of `count` shared random sequences, ascending."""
    generator = random.Random(f"random sequences {seed}")  # noqa: S311 - a seeded draw
    return tuple(sorted(generator.sample(range(sequences), count)))


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
