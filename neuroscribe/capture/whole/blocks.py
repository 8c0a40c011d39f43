"""The files of whole activations: what they are called, and what is said in them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from neuroscribe.errors import StoreError
from neuroscribe.ports.stores import TensorStore

Form = Literal["bf16", "uint8"]

BLOCK_SEQUENCES = 128
"""Sequences per file: 16 kB in a row per neuron of 64 tokens in bf16; a divisor of a capture's block."""

ERRORS: dict[Form, str] = {
    "bf16": "exact where the subject computed in bfloat16; otherwise at most 2^-8 of the activation's size",
    "uint8": "at most half of the neuron's step, (max - min) / 255 within the block, and float32 rounding",
}
"""How far a stored activation may lie from the one captured, as written into every file."""

AGAIN = "remove the file and materialise activations again"
_BLOCK_NAME = re.compile(r"block_([0-9]{6})\.safetensors")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")

Activations = Float[Tensor, "sequence token neuron"]
Turned = Float[Tensor, "neuron sequence token"]


def block_path(folder: str, layer: int, number: int) -> str:
    """Return the file of a layer's block; block 0 begins with sequence 0."""
    return f"{layer_folder(folder, layer)}/block_{number:06d}.safetensors"


def layer_folder(folder: str, layer: int) -> str:
    """Return the folder of a layer's files."""
    return f"{folder}/layer_{layer:02d}"


def stored_paths(store: TensorStore, folder: str, layer: int) -> list[str]:
    """Return the files of the blocks that are stored of a layer, in order."""
    own = layer_folder(folder, layer)
    return [f"{own}/{name}" for name in store.names(own) if _BLOCK_NAME.fullmatch(name)]


def block_count(sequences: int, block: int) -> int:
    """Return how many blocks hold that many sequences."""
    return -(-sequences // block)


@dataclass(frozen=True)
class BlockHeader:
    """What a block says of itself."""

    form: Form
    first: int
    """The id of its first sequence."""
    sequences: int
    block: int
    """Sequences of a full block."""
    neurons: int

    @property
    def end(self) -> int:
        """The id after that of its last sequence."""
        return self.first + self.sequences


def block_header(path: str, metadata: Mapping[str, str]) -> BlockHeader:
    """Return what is said of a block; raises StoreError where it cannot be."""
    form = metadata.get("form", "nothing")
    if form not in ERRORS:
        raise StoreError(f"{path}: says that its form is {form[:40]!r}, and there is none such; {AGAIN}")
    first, sequences, block, neurons = (
        _number(path, metadata, key) for key in ("first_sequence", "sequences", "block", "neurons")
    )
    if not 1 <= sequences <= block or first % block:
        raise StoreError(f"{path}: says {sequences} sequences from {first} on in blocks of {block}; {AGAIN}")
    return BlockHeader(form, first, sequences, block, neurons)


def _number(path: str, metadata: Mapping[str, str], key: str) -> int:
    if not _NUMBER.fullmatch(text := metadata.get(key, "nothing")):
        raise StoreError(f"{path}: says {text[:40]!r} for {key} where a number was expected; {AGAIN}")
    return int(text)
