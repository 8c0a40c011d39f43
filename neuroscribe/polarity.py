"""Which part of a neuron an explanation is held to account for."""

from typing import TypeVar

import numpy as np
from torch import Tensor

Values = TypeVar("Values", np.ndarray, Tensor)


def explained_side(activations: Values, polarity: int, polarities: tuple[int, ...]) -> Values:
    """Return polarity x activation; where both signs are studied, the other sign counts as silence (0).

    A gated neuron's two signs are explained apart, so each explanation answers for its own side. A plain
    (GELU or ReLU) neuron has one side and keeps its small negative values, as in Bills et al. 2023.
    """
    own = activations * polarity
    return own.clip(min=0) if len(polarities) > 1 else own
