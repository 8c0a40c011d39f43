"""Which sequences are drawn for exemplars, from seeds alone, before anything is known of the activations."""

import random

from neuroscribe.capture.state import CapturePlan, Pool
from neuroscribe.errors import StudyError
from neuroscribe.study.spec import Study

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


def capture_plan(study: Study) -> CapturePlan:
    """Return what a capture keeps."""
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
        pools,
        token_histogram=study.capture.token_histogram,
    )
