"""Whether a study keeps as many exemplars of a neuron as it shows and scores."""

import math
from collections.abc import Mapping

_TOP_STRIDE, _RANDOM_STRIDE = 4, 3
"""Of so many exemplars one is in `test`, of top ones one in `train`: `neuroscribe/capture/splits.py`."""


def check_bands(*, kept: int, bands: int, shown: Mapping[str, int]) -> None:
    """Raise ValueError where an explainer shows more exemplars of `bands` quantile bands than are kept."""
    for name, asked in shown.items():
        if asked > kept * bands:
            raise ValueError(
                f"explainers.{name}.bands = {asked}, but with quantile_exemplars = {kept} there are"
                f" {kept * bands} in {bands} bands; lower bands, or raise capture.quantile_exemplars to"
                f" {math.ceil(asked / bands)}"
            )


def check_counts(*, top: int, random: int, scored: int, shown: Mapping[str, int]) -> None:
    """Raise ValueError where the splits cannot hold the exemplars that are scored, or shown by an explainer.

    A split may still hold fewer for a neuron whose exemplars are of few documents, or that fires in few
    sequences: each score says on how many it rests.
    """
    for name, kept, stride in (("top_k", top, _TOP_STRIDE), ("random_exemplars", random, _RANDOM_STRIDE)):
        if kept < stride * scored:
            raise ValueError(
                f"scoring.sequences_per_split = {scored} needs capture.{name} = {stride * scored}, as one in"
                f" {stride} is in the test split, but {name} = {kept}; raise it, or lower sequences_per_split"
                f" to {kept // stride}"
            )
    trained = math.ceil(top / _TOP_STRIDE)
    for name, excerpts in shown.items():
        if excerpts > trained:
            raise ValueError(
                f"explainers.{name}.excerpts = {excerpts}, but of top_k = {top} top sequences {trained} are"
                f" in the training split; lower excerpts, or raise capture.top_k to {_TOP_STRIDE * excerpts}"
            )
