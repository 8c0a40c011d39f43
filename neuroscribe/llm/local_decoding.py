"""Continues several prompts at once, token by token: the model's weights are read once a step for all.

The prompts go on from one prefix. Shorter ones are filled up at their beginnings, behind the prefix, with
places that nothing sees; positions are set as if the filling were not there, and an answer that has ended
leaves the batch. What shares a batch with a prompt changes its numbers only by rounding.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

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
    fork = copy.copy(cache)
    fork.layers = [_forked(layer, rows) for layer in cache.layers]
    return fork


def _forked(layer: Any, rows: int) -> Any:
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
        if rows > 1:
            raise CapabilityError(
                f"the model keeps {type(layer).__name__} between tokens, which rows of a batch cannot share;"
                " use a model whose every layer attends to its past in [llm] or [simulator_llm]"
            )
        # What else a layer keeps (a convolution's, a recurrent state) may be changed in place.
        return copy.deepcopy(layer)
    # Keys and values are replaced, never changed in place, so that all rows may share the prefix's memory.
    fork = copy.copy(layer)
    fork.keys, fork.values = layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1)
    return fork


Draw = Callable[[Float[Tensor, " token"]], int]


def can_batch(model: Any, look_back: int | None) -> bool:
    """Tell whether prompts of a model may be filled up: not where its layers count the places they see."""
    return look_back is None and not getattr(model.config, "is_encoder_decoder", False)


def continued(
    model: Any,
    prefix: Any,
    prompts: Sequence[Sequence[int]],
    *,
    most: int,
    draws: Sequence[Draw],
    ends: Callable[[int], bool],
    enough: Sequence[Callable[[list[int]], bool]] = (),
) -> list[list[int]]:
    """Return the tokens that follow each prompt, at most so many, up to one that `ends` an answer.

    `prefix` is the cache that all go on from, one row of it or None; `draws` choose the next token of each;
    `enough`, if given, tells of each whether its tokens so far are all that is wanted.
    """
    after, longest = cached_length(prefix), max(map(len, prompts))
    # Filled up in front, all rows end at the same place: one read of the last logits serves every row.
    fillings = [longest - len(prompt) for prompt in prompts]
    made: list[list[int]] = [[] for _ in prompts]
    going = list(range(len(prompts)))
    rows = [[prompt[0]] * fill + list(prompt) for prompt, fill in zip(prompts, fillings, strict=True)]
    cache = forked(prefix, len(prompts))
    for done in range(most):
        given = _places([fillings[row] for row in going], after, longest, done, device=model.device)
        ids = torch.tensor(rows, device=model.device)
        output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **given)
        cache, logits = output.past_key_values, output.logits[:, -1].float().cpu()
        drawn = [(row, draws[row](logits[place])) for place, row in enumerate(going)]
        for row, token in drawn:
            made[row] += [] if ends(token) else [token]
        kept = [
            place
            for place, (row, token) in enumerate(drawn)
            if not ends(token) and not (enough and enough[row](made[row]))
        ]
        if not kept:
            break
        # An answer that has ended would be computed on for nothing, to the end of the longest.
        if len(kept) < len(going):
            cache.batch_select_indices(torch.tensor(kept, device=model.device, dtype=torch.long))
        going = [going[place] for place in kept]
        rows = [[drawn[place][1]] for place in kept]
    return made


def _places(
    fillings: Sequence[int], after: int, longest: int, done: int, *, device: torch.device
) -> dict[str, Tensor]:
    """Return mask and positions of the next step; none where no prompt is filled up."""
    # Without filling, what a model sees by itself is right, and it may take its faster way without a mask.
    if not any(fillings):
        return {}
    fill = torch.tensor(fillings, device=device)[:, None]
    places = torch.arange(after + longest + done, device=device)[None]
    seen = (places < after) | (places >= after + fill)
    asked = places[:, after:] if not done else places[:, -1:]
    # Filling needs some position that there is, whichever: nothing sees it.
    return {"attention_mask": seen.long(), "position_ids": (asked - fill).clamp(min=0)}
