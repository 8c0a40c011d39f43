"""States whose whole activations are gone: they must not be gone on from, or nobody writes these again."""

from collections.abc import Sequence

from neuroscribe.capture.checkpoints import Checkpoints
from neuroscribe.ports import Progress
from neuroscribe.whole_activations import WholeActivations


def dropped_without_blocks(
    files: Checkpoints,
    layers: Sequence[int],
    whole: WholeActivations,
    *,
    sequences: int,
    progress: Progress,
) -> tuple[int, ...]:
    """Remove the states, finished or not, of whose `sequences` some have no block; return their layers.

    A capture then takes these layers, or their shards, from the beginning. Raises StoreError for a block that
    is damaged or torn, which is for the user to remove.
    """
    taken = {layer: found for layer in sorted(layers) if (found := files.taken(layer))}
    dropped: list[int] = []
    if not taken:
        return ()
    with progress.task("look for whole activations", total=len(taken), unit="layers") as advance:
        for layer, states in taken.items():
            gone = [path for path, ranges in states.items() if not whole.holds(layer, ranges, sequences)]
            for path in gone:
                files.store.remove(path)
            dropped += [layer] if gone else []
            note = f"layer {layer}: whole activations are missing; it is captured anew"
            advance(1, note=note if gone else "")
    return tuple(dropped)
