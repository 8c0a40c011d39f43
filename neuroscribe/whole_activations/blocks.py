"""The files of whole activations: what they are called, and what is said in them."""

import re
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from neuroscribe.ports import TensorStore

Form = Literal["bf16", "uint8"]

BLOCK_SEQUENCES = 128
"""Sequences per file: 16 kB in a row per neuron of 64 tokens in bf16; a divisor of a capture's block."""

ERRORS: dict[Form, str] = {
    "bf16": "exact where the subject computed in bfloat16; otherwise at most 2^-8 of the activation's size",
    "uint8": "at most half of the neuron's step, (max - min) / 255 within the block, and float32 rounding",
}
"""How far a stored activation may lie from the one captured, as written into every file."""

_BLOCK_NAME = re.compile(r"block_(\d{6})\.safetensors")

Activations = Float[Tensor, "sequence token neuron"]
Turned = Float[Tensor, "neuron sequence token"]


def block_path(folder: str, layer: int, number: int) -> str:
    """Return the file of a layer's block; block 0 begins with sequence 0."""
    return f"{layer_folder(folder, layer)}/block_{number:06d}.safetensors"


def layer_folder(folder: str, layer: int) -> str:
    """Return the folder of a layer's files."""
    return f"{folder}/layer_{layer:02d}"


def block_names(store: TensorStore, folder: str, layer: int) -> list[str]:
    """Return the names of the blocks that are stored of a layer, in order."""
    return [name for name in store.names(layer_folder(folder, layer)) if _BLOCK_NAME.fullmatch(name)]


def block_count(sequences: int, block: int) -> int:
    """Return how many blocks hold that many sequences."""
    return -(-sequences // block)
