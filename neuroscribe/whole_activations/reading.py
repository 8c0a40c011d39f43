"""Reads one neuron or one sequence of a layer, and tells what is stored."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from neuroscribe.errors import StoreError
from neuroscribe.ports import TensorStore
from neuroscribe.whole_activations.blocks import (
    BLOCK_SEQUENCES,
    Turned,
    block_count,
    block_names,
    block_path,
    layer_folder,
)

_AGAIN = "materialise activations again"


def neuron_activations(
    store: TensorStore, folder: str, layer: int, neuron: int, *, fingerprint: str
) -> Float[Tensor, "sequence token"]:
    """Return all that is stored of one neuron, in float32, without reading the others.

    `fingerprint` is that of the capture meant (`neuroscribe.capture.stage.whole_capture`). Of a capture that
    has not ended, the sequences so far are returned; `is_whole` tells. Raises StoreError for a layer or
    neuron that is not stored, for a missing block and for one of another capture or layer.
    """
    paths = _block_paths(store, folder, layer)
    first = store.metadata(paths[0])
    _check_own(paths[0], first, layer, fingerprint)
    _check_range(folder, layer, "neuron", neuron, int(first["neurons"]))
    blocks = store.read_parts(paths, _parts(first["form"], slice(neuron, neuron + 1)))
    end = 0
    for path, (_, metadata) in zip(paths, blocks, strict=True):
        _check_own(path, metadata, layer, fingerprint)
        _check_begins(path, metadata, end)
        end += int(metadata["sequences"])
    return torch.cat([_restored(tensors)[0] for tensors, _ in blocks])


def sequence_activations(
    store: TensorStore, folder: str, layer: int, sequence: int, *, fingerprint: str
) -> Float[Tensor, "token neuron"]:
    """Return the activations of all neurons in one sequence, in float32, from its block alone.

    `fingerprint` is that of the capture meant. Raises StoreError for a layer or sequence that is not stored,
    for a missing block and, among the layer's first block, its last and the one read, for one of another
    capture or layer.
    """
    paths = _block_paths(store, folder, layer)
    (_, first), (_, last) = store.read_parts([paths[0], paths[-1]], {})
    _check_own(paths[0], first, layer, fingerprint)
    _check_own(paths[-1], last, layer, fingerprint)
    _check_range(folder, layer, "sequence", sequence, int(last["first_sequence"]) + int(last["sequences"]))
    number, place = divmod(sequence, int(first["block"]))
    parts = _parts(first["form"], slice(None), slice(place, place + 1))
    [(tensors, metadata)] = store.read_parts([paths[number]], parts)
    _check_own(paths[number], metadata, layer, fingerprint)
    _check_begins(paths[number], metadata, sequence - place)
    return _restored(tensors)[:, 0].T.contiguous()


def is_whole(
    store: TensorStore,
    folder: str,
    layers: Iterable[int],
    sequences: int,
    fingerprint: str,
    block: int = BLOCK_SEQUENCES,
) -> bool:
    """Tell whether all blocks of a capture of that many sequences are there, and no others."""
    return all(
        len(block_names(store, folder, layer)) == block_count(sequences, block)
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

    A capture can go on at a checkpoint that lies no further.
    """
    return min((_stored(store, folder, layer, fingerprint, block) for layer in layers), default=0)


def _stored(store: TensorStore, folder: str, layer: int, fingerprint: str, block: int) -> int:
    """Return where the row of a capture's blocks that starts at sequence 0 ends."""
    names = block_names(store, folder, layer)
    end = 0
    for _, metadata in store.read_parts([f"{layer_folder(folder, layer)}/{name}" for name in names], {}):
        wanted = {"fingerprint": fingerprint, "layer": str(layer), "block": str(block)}
        wanted["first_sequence"] = str(end)
        if not wanted.items() <= metadata.items():
            break
        end += int(metadata["sequences"])
    return end


def _block_paths(store: TensorStore, folder: str, layer: int) -> list[str]:
    """Return a layer's files in order; raises StoreError when there is none, or one is missing."""
    names = block_names(store, folder, layer)
    if not names:
        raise StoreError(
            f"{layer_folder(folder, layer)}: no whole activations of layer {layer} are stored; set the study"
            ' key capture.whole to "bf16" or "uint8" and materialise activations'
        )
    paths = [block_path(folder, layer, number) for number in range(len(names))]
    for path, name in zip(paths, names, strict=True):
        if not path.endswith(f"/{name}"):
            raise StoreError(f"{path}: is missing, though {name} is there; {_AGAIN}")
    return paths


def _parts(form: str, neurons: slice, *sequences: slice) -> dict[str, tuple[slice, ...]]:
    """Return what is read of a file: values of some neurons and, of rounded ones, their low and step."""
    values = {"values": (neurons, *sequences)}
    return values | ({"low": (neurons,), "step": (neurons,)} if form == "uint8" else {})


def _restored(tensors: Mapping[str, Tensor]) -> Turned:
    values = tensors["values"].float()
    if "step" not in tensors:
        return values
    return tensors["low"][:, None, None] + tensors["step"][:, None, None] * values


def _check_range(folder: str, layer: int, word: str, wanted: int, count: int) -> None:
    if not 0 <= wanted < count:
        raise StoreError(
            f"{layer_folder(folder, layer)}: {word} {wanted} is not stored; it holds 0 to {count - 1}"
        )


def _check_begins(path: str, own: Mapping[str, str], wanted: int) -> None:
    if (first := own["first_sequence"]) != str(wanted):
        raise StoreError(f"{path}: begins with sequence {first} where {wanted} was expected; {_AGAIN}")


def _check_own(path: str, metadata: Mapping[str, str], layer: int, fingerprint: str) -> None:
    """Raise StoreError unless a block is of the capture and layer meant."""
    found = (metadata.get("fingerprint", ""), metadata.get("layer"))
    if found != (fingerprint, str(layer)):
        raise StoreError(
            f"{path}: is of layer {found[1]} of capture {found[0][:12]}, not of layer {layer} of capture"
            f" {fingerprint[:12]}; ask for the fingerprint of this folder's capture, or {_AGAIN}"
        )
