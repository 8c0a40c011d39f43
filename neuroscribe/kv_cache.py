"""Keys and values of a prefix, read by many continuations and copied for none.

The dynamic layers of transformers put new tensors in place of the old ones when they grow and never write
into them, so caches can share tensors and still grow apart. Layers of other kinds (states of linear
attention, for one) are written into, and are therefore copied.
"""

import copy
from typing import Any

from neuroscribe.errors import CapabilityError


def cached_length(cache: Any) -> int:
    """Return how many tokens a cache holds; none where there is no cache."""
    return 0 if cache is None else int(cache.get_seq_length())


def can_fork(cache: Any) -> bool:
    """Tell whether several rows may go on from a cache: its every layer keeps keys and values alone."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    return cache is not None and all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers
    )


def forked(cache: Any, rows: int = 1) -> Any:
    """Return a cache in which `rows` rows go on from the one row of `cache`, which is left as it is.

    Raises CapabilityError for several rows of a model whose layers keep more than keys and values.
    """
    if cache is None:
        return None
    own = copy.copy(cache)
    own.layers = [_forked(layer, rows) for layer in cache.layers]
    return own


def _forked(layer: Any, rows: int) -> Any:
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
        if rows > 1:
            raise CapabilityError(
                f"the model keeps {type(layer).__name__} between tokens, which rows of a batch cannot share;"
                " use a model whose every layer attends to its past in [llm] or [simulator_llm]"
            )
        return copy.deepcopy(layer)
    own = copy.copy(layer)
    own.keys, own.values = layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1)
    return own
