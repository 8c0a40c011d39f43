"""A tiny random subject, its corpus, and what a capture must give, computed from all activations at once."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from neuroscribe.capture import CapturePlan, LayerState, Pool
from neuroscribe.subject.architectures import backbone, down_projections
from neuroscribe.subject.subject import Subject
from neuroscribe.testing.random_subjects import VOCABULARY, random_subject
from neuroscribe.text.token_bytes import TokenizerFacts

SEQUENCES, LENGTH, BATCH, TOP = 61, 8, 7, 5
RANDOM_IDS = (2, 11, 12, 30, 57)
POOLS = (Pool((0, 1, 3, 8, 21, 40, 41, 44, 50, 52, 60), 4), Pool((3, 5, 21, 22, 50, 51, 52), 2))
BLOCK = 20
TOKENIZER = TokenizerFacts(
    encode=lambda text: [ord(character) % VOCABULARY for character in text],
    token_bytes=tuple(bytes([65 + token]) for token in range(VOCABULARY)),
    special_ids=frozenset({1}),
    identity="letters",
)


def corpus() -> torch.Tensor:
    """Sequences with ties: 40 and 41 repeat 3 and 4, and 50 to 59 begin as 3 does."""
    tokens = torch.randint(2, VOCABULARY, (SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(7))
    tokens[40], tokens[41] = tokens[3], tokens[4]
    tokens[50:60, :5] = tokens[3, :5]
    return tokens


def subject(model: Any, *, prefix_ids: tuple[int, ...] = (), batch: int = BATCH) -> Subject:
    return Subject(
        model=model,
        tokenizer=TOKENIZER,
        name="tiny",
        revision="0",
        dtype=model.dtype,
        device=torch.device("cpu"),
        prefix_ids=prefix_ids,
        batch_tokens=batch * (LENGTH + len(prefix_ids)),
    )


def tiny(model_type: str = "gpt2", dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    return random_subject(model_type, seed=3, **changes).to(dtype)


def plan(polarities: tuple[int, ...] = (1, -1)) -> CapturePlan:
    return CapturePlan(TOP, polarities, RANDOM_IDS, POOLS, block=BLOCK)


def every_activation(own: Subject, tokens: torch.Tensor, batch: int = BATCH) -> np.ndarray:
    """Return all activations [layer, sequence, token, neuron], in the batches that a capture takes."""
    read: dict[int, list[torch.Tensor]] = {}
    handles = []
    for layer, projection in down_projections(own.model).items():
        read[layer] = []

        def keep(_module: object, inputs: tuple[torch.Tensor, ...], layer: int = layer) -> None:
            read[layer].append(inputs[0].float().clone())

        handles.append(projection.module.register_forward_pre_hook(keep))
    prefix = torch.tensor(own.prefix_ids, dtype=torch.int64)
    with torch.inference_mode():
        for start in range(0, len(tokens), batch):
            some = tokens[start : start + batch]
            backbone(own.model)(input_ids=torch.cat([prefix.expand(len(some), -1), some], 1), use_cache=False)
    for handle in handles:
        handle.remove()
    skipped = len(own.prefix_ids)
    return np.stack([torch.cat(parts).numpy()[:, skipped:] for parts in read.values()])


def sorted_slots(
    state: LayerState, side: int, slots: slice = slice(0, TOP)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, sequence ids and vectors of the top-k or a pool, largest first, then smaller id."""
    values, ids = state.top_value[side, :, slots].numpy(), state.top_sequence[side, :, slots].numpy()
    order = np.lexsort((ids, -values))
    vectors = np.take_along_axis(state.top_vector[side, :, slots].float().numpy(), order[:, :, None], 1)
    return np.take_along_axis(values, order, 1), np.take_along_axis(ids, order, 1), vectors


def everything(state: LayerState, plan: CapturePlan) -> dict[str, bytes]:
    """Return every number of a state, slots in order and vectors of empty slots left out."""
    slots = {
        f"side {side}, slots from {first}, part {part}": array.tobytes()
        for side in range(len(plan.polarities))
        for first, stop in pairwise(plan.bounds)
        for part, array in enumerate(sorted_slots(state, side, slice(first, stop)))
    }
    other = (
        "random_vector", "threshold", "pivot", "sums", "limbs", "limb_top", "extremes", "positive",
        "histogram", "peak_histogram",
    )  # fmt: skip
    rest = {name: getattr(state, name).contiguous().view(torch.uint8).numpy().tobytes() for name in other}
    return slots | rest | {"ranges": repr(state.ranges).encode()}
