"""Reads one neuron or one sequence of a layer, and tells what is stored."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neuroscribe.capture.whole.blocks import (
    AGAIN,
    BLOCK_SEQUENCES,
    BlockHeader,
    Turned,
    block_count,
    block_header,
    block_path,
    layer_folder,
    stored_paths,
)
from neuroscribe.errors import StoreError
from neuroscribe.ports.stores import TensorStore

_AGAIN = "materialise activations again"
_HEADER = {"values": (slice(0),)}
"""Of a block, what it says and, without a value, for how many sequences it has values."""


def neuron_activations(
    store: TensorStore, folder: str, layer: int, neuron: int, *, fingerprint: str
) -> Float[Tensor, "sequence token"]:
    """Return all that is stored of one neuron, in float32, without reading the others.

    `fingerprint` is that of the capture meant (`neuroscribe.capture.stage.whole_capture`). Of a capture that
    has not ended, the sequences so far are returned; `is_whole` tells. Raises StoreError for a layer or
    neuron that is not stored, for a missing block and for one that is damaged or of another capture or layer.
    """
    paths = _block_paths(store, folder, layer)
    [first] = _headers(store, paths[:1], layer, fingerprint)
    _check_range(folder, layer, "neuron", neuron, first.neurons)
    parts: list[Tensor] = []
    end = 0
    blocks = store.read_parts(paths, _parts(first.form, slice(neuron, neuron + 1)))
    for path, (tensors, metadata) in zip(paths, blocks, strict=True):
        header = _header(path, metadata, layer, fingerprint)
        _check_place(path, header, first, end)
        parts.append(_restored(path, tensors, 1, header.sequences))
        _check_tokens(path, parts)
        end = header.end
    return torch.cat([values[0] for values in parts])


def sequence_activations(
    store: TensorStore, folder: str, layer: int, sequence: int, *, fingerprint: str
) -> Float[Tensor, "token neuron"]:
    """Return the activations of all neurons in one sequence, in float32, from its block alone.

    `fingerprint` is that of the capture meant. Raises StoreError for a layer or sequence that is not stored,
    for a missing block and, among the layer's first block, its last and the one read, for one that is damaged
    or of another capture or layer.
    """
    paths = _block_paths(store, folder, layer)
    first, last = _headers(store, [paths[0], paths[-1]], layer, fingerprint)
    _check_place(paths[0], first, first, 0)
    _check_place(paths[-1], last, first, (len(paths) - 1) * first.block)
    _check_range(folder, layer, "sequence", sequence, last.end)
    number, place = divmod(sequence, first.block)
    parts = _parts(first.form, slice(None), slice(place, place + 1))
    [(tensors, metadata)] = store.read_parts([paths[number]], parts)
    header = _header(paths[number], metadata, layer, fingerprint)
    _check_place(paths[number], header, first, sequence - place)
    return _restored(paths[number], tensors, header.neurons, 1)[:, 0].T.contiguous()


def is_whole(
    store: TensorStore,
    folder: str,
    layers: Iterable[int],
    sequences: int,
    fingerprint: str,
    block: int = BLOCK_SEQUENCES,
) -> bool:
    """Tell whether all blocks of a capture of that many sequences are there, and no others.

    Raises StoreError for a block that is damaged or torn; what its values are is not looked at.
    """
    return all(
        len(stored_paths(store, folder, layer)) == block_count(sequences, block)
        and _stored(store, folder, layer, fingerprint, block) == sequences
        for layer in layers
    )


def stored_sequences(
    store: TensorStore,
    folder: str,
    layers: Iterable[int],
    fingerprint: str,
    block: int = BLOCK_SEQUENCES,
) -> int:
    """Return how many sequences, from 0 on without a gap, one capture has stored of every layer.

    A capture can go on at a checkpoint that lies no further. Raises StoreError as `is_whole` does.
    """
    return min((_stored(store, folder, layer, fingerprint, block) for layer in layers), default=0)


def holds(
    store: TensorStore,
    folder: str,
    layer: int,
    sequences: range,
    fingerprint: str,
    block: int = BLOCK_SEQUENCES,
) -> bool:
    """Tell whether a capture's blocks of these sequences are there; raises StoreError as `is_whole` does."""
    numbers = range(sequences.start // block, block_count(sequences.stop, block))
    paths = [block_path(folder, layer, number) for number in numbers]
    if not set(paths) <= set(stored_paths(store, folder, layer)):
        return False
    begin = numbers.start * block
    return _row_end(store, paths, layer, fingerprint, block, begin) >= sequences.stop


def _stored(store: TensorStore, folder: str, layer: int, fingerprint: str, block: int) -> int:
    """Return where the row of a capture's blocks that starts at sequence 0 ends."""
    return _row_end(store, stored_paths(store, folder, layer), layer, fingerprint, block)


def _row_end(
    store: TensorStore, paths: Sequence[str], layer: int, fingerprint: str, block: int, begin: int = 0
) -> int:
    """Return where a row of a capture's blocks that starts at sequence `begin` ends."""
    end = begin
    for path, (tensors, metadata) in zip(paths, store.read_parts(paths, _HEADER), strict=True):
        if (metadata.get("fingerprint"), metadata.get("layer")) != (fingerprint, str(layer)):
            break
        header = block_header(path, metadata)
        _check_shape(path, tensors, 0, header.sequences)
        if (header.block, header.first) != (block, end):
            break
        end = header.end
    return end


def _headers(store: TensorStore, paths: Sequence[str], layer: int, fingerprint: str) -> list[BlockHeader]:
    """Return what blocks say; raises StoreError for one that is damaged or of another capture or layer."""
    headers: list[BlockHeader] = []
    for path, (tensors, metadata) in zip(paths, store.read_parts(paths, _HEADER), strict=True):
        headers.append(_header(path, metadata, layer, fingerprint))
        _check_shape(path, tensors, 0, headers[-1].sequences)
    return headers


def _block_paths(store: TensorStore, folder: str, layer: int) -> list[str]:
    """Return a layer's files in order; raises StoreError when there is none, or one is missing."""
    stored = stored_paths(store, folder, layer)
    if not stored:
        raise StoreError(
            f"{layer_folder(folder, layer)}: no whole activations of layer {layer} are stored; set the study"
            ' key capture.whole to "bf16" or "uint8" and materialise activations'
        )
    for number, path in enumerate(stored):
        if path != (wanted := block_path(folder, layer, number)):
            name = path.rpartition("/")[2]
            raise StoreError(f"{wanted}: is missing, though {name} is there; {_AGAIN}")
    return stored


def _parts(form: str, neurons: slice, *sequences: slice) -> dict[str, tuple[slice, ...]]:
    """Return what is read of a file: values of some neurons and, of rounded ones, their low and step."""
    values = {"values": (neurons, *sequences)}
    return values | ({"low": (neurons,), "step": (neurons,)} if form == "uint8" else {})


def _restored(path: str, tensors: Mapping[str, Tensor], neurons: int, sequences: int) -> Turned:
    """Return the parts read as activations; raises StoreError where they are of other shapes."""
    _check_shape(path, tensors, neurons, sequences)
    values = tensors["values"].float()
    if "step" not in tensors:
        return values
    return tensors["low"][:, None, None] + tensors["step"][:, None, None] * values


def _check_shape(path: str, tensors: Mapping[str, Tensor], neurons: int, sequences: int) -> None:
    """Raise StoreError unless the parts read are of so many neurons and sequences."""
    for name, tensor in tensors.items():
        shape, wanted = tuple(tensor.shape), (neurons, sequences) if name == "values" else (neurons,)
        if shape[:2] != wanted or (name == "values") != (len(shape) == 3):
            raise StoreError(f"{path}: its {name} are {shape} where {wanted} was expected; {AGAIN}")


def _check_tokens(path: str, parts: Sequence[Tensor]) -> None:
    tokens, first = parts[-1].shape[2], parts[0].shape[2]
    if tokens != first:
        raise StoreError(
            f"{path}: its sequences have {tokens} tokens, those of the first block {first}; {AGAIN}"
        )


def _check_range(folder: str, layer: int, word: str, wanted: int, count: int) -> None:
    if not 0 <= wanted < count:
        raise StoreError(
            f"{layer_folder(folder, layer)}: {word} {wanted} is not stored; it holds 0 to {count - 1}"
        )


def _check_place(path: str, header: BlockHeader, first: BlockHeader, wanted: int) -> None:
    """Raise StoreError unless a block begins where the one before ended and is made like the first."""
    if header.first != wanted:
        raise StoreError(f"{path}: begins with sequence {header.first} where {wanted} was expected; {_AGAIN}")
    ours, theirs = ((each.form, each.block, each.neurons) for each in (header, first))
    if ours != theirs:
        raise StoreError(
            f"{path}: says {ours} for form, block and neurons, and the layer's first block {theirs}; {AGAIN}"
        )


def _header(path: str, metadata: Mapping[str, str], layer: int, fingerprint: str) -> BlockHeader:
    """Return what a block says; raises StoreError where it is of another capture or layer, or damaged."""
    capture, named = metadata.get("fingerprint", ""), metadata.get("layer")
    if (capture, named) != (fingerprint, str(layer)):
        raise StoreError(
            f"{path}: is of layer {named} of capture {capture[:12]}, not of layer {layer} of capture"
            f" {fingerprint[:12]}; ask for the fingerprint of this folder's capture, or {_AGAIN}"
        )
    return block_header(path, metadata)
