"""Clusters of a few unit vectors, and whether there are any: spherical k-means and silhouettes.

Sources: Dhillon and Modha 2001 (k-means by cosines, centres of unit length), Arthur and Vassilvitskii 2007
(the first centres), Rousseeuw 1987 (silhouettes). Seeded, and the same on every machine but for ties.
"""

import numpy as np
from jaxtyping import Float, Int

_STARTS, _ROUNDS = 10, 50
"""Draws of first centres, of which the best outcome counts, and steps at most from each."""

Vectors = Float[np.ndarray, "point feature"]
Centres = Float[np.ndarray, "centre feature"]
Labels = Int[np.ndarray, " point"]
"""A number from 0 on for each point, clusters in the order of their first points."""


def clusters(
    vectors: Vectors, *, most: int, seed: int, least_silhouette: float, least_size: int = 2
) -> Labels:
    """Return the clusters of some points: of 2 to `most` those with the largest mean silhouette.

    One cluster, where that is below `least_silhouette`, or every number of clusters leaves one with fewer
    than `least_size` points.
    """
    best, labels = least_silhouette, np.zeros(len(vectors), dtype=np.int64)
    for count in range(2, min(most, len(vectors) // least_size) + 1):
        found = k_means(vectors, count, seed=seed)
        sizes = np.bincount(found, minlength=count)
        if sizes.min() >= least_size and (value := silhouette(vectors, found)) >= best:
            best, labels = value, found
    return labels


def k_means(vectors: Vectors, count: int, *, seed: int) -> Labels:
    """Return `count` clusters, such that the cosines of points to the centre of theirs are large in sum."""
    generator = np.random.default_rng([seed, count])
    best, labels = -np.inf, np.zeros(len(vectors), dtype=np.int64)
    for _ in range(_STARTS):
        found, worth = _settled(vectors, _first_centres(vectors, count, generator))
        if worth > best + 1e-9:  # equal but for rounding: the first
            best, labels = worth, found
    return _in_order(labels)


def silhouette(vectors: Vectors, labels: Labels) -> float:
    """Return the mean over points of (b - a) / max(a, b), 0 for a point that is alone in its cluster.

    a is the mean cosine distance to the others of its cluster, b that to the nearest other cluster.
    """
    distances = 1 - vectors @ vectors.T
    member = labels[:, None] == np.unique(labels)
    sizes = member.sum(axis=0)
    sums = distances @ member
    own = sizes[None] - member
    means = sums / np.maximum(own, 1)
    within = means[member]
    others = np.where(member, np.inf, means).min(axis=1)
    larger = np.maximum(within, others)
    values = np.where(
        (sizes[None] * member).sum(axis=1) > 1, (others - within) / np.maximum(larger, 1e-12), 0.0
    )
    return float(values.mean())


def _first_centres(vectors: Vectors, count: int, generator: np.random.Generator) -> Centres:
    """Return points far from each other: each drawn by its distance from those before it."""
    chosen = [int(generator.integers(len(vectors)))]
    while len(chosen) < count:
        far = (1 - (vectors @ vectors[chosen].T).max(axis=1)).clip(0)
        far[chosen] = 0
        shares = far / far.sum() if far.sum() > 0 else np.full(len(vectors), 1 / len(vectors))
        chosen.append(int(generator.choice(len(vectors), p=shares)))
    return vectors[chosen]


def _settled(vectors: Vectors, centres: Centres) -> tuple[Labels, float]:
    """Return the clusters that centres end in, and the sum of cosines; an emptied one keeps its centre."""
    labels = (vectors @ centres.T).argmax(axis=1)
    for _ in range(_ROUNDS):
        sums = np.array([vectors[labels == place].sum(axis=0) for place in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
        after = (vectors @ centres.T).argmax(axis=1)
        if (after == labels).all():
            break
        labels = after
    return labels, float((vectors @ centres.T).max(axis=1).sum())


def _in_order(labels: Labels) -> Labels:
    order = {label: place for place, label in enumerate(dict.fromkeys(labels.tolist()))}
    return np.array([order[label] for label in labels.tolist()], dtype=np.int64)
