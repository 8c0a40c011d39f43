"""Bounds on what a configuration may build, so that a wrong or hostile one takes neither minutes nor memory.

transformers builds a model without memory for its weights (on torch's meta device), then fills it from the
files. What is registered meanwhile is counted, and the building ends as soon as the files could never fill
it.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from neuroscribe.errors import SubjectError
from resources.models.folders import Weights

LARGEST_TABLE = 2**28
"""Elements of what a model computes for itself, such as masks by position."""


@contextmanager
def bounded(name: str, weights: Weights, *, packed: bool) -> Iterator[None]:
    """While open, raise SubjectError where this thread builds a model that `weights` cannot fill.

    A tied matrix is counted twice, and `packed` weights hold several values a byte.
    """
    count = _Count(name, weights, per_byte=16 if packed else 2)
    with ExitStack() as stack:
        for register, hook in count.hooks():
            stack.callback(register(hook).remove)
        yield


def left_out(model: Any, unused: Iterable[str]) -> list[str]:
    """Return those of a file's tensors that no part of the model took, though they lie in its blocks.

    Whole blocks, norms or biases that a configuration denies make another model than the weights are of.
    Tensors elsewhere (other heads, towers of images) and masks that files hold beside weights do no harm.
    """
    files, own = set(unused), {key for key, _ in model.named_parameters()}
    lists = {place[0] for place in map(_place, own) if place}
    lists = lists or {place[0] for place in map(_place, files) if place}  # a model without a single block
    weighted = {place[1] for key in own | files if key.endswith(".weight") and (place := _place(key))}

    def is_taken_out(key: str) -> bool:
        place = _place(key)
        return bool(place) and place[1] in weighted and any(_ends_alike(place[0], each) for each in lists)

    return sorted(filter(is_taken_out, files))


def _place(key: str) -> tuple[str, str] | None:
    """Return the list of blocks that a tensor lies in, and its module from that list's name on."""
    parts = key.split(".")
    at = next((at for at, part in enumerate(parts) if at and part.isdigit()), None)
    return None if at is None else (".".join(parts[:at]), ".".join(parts[at - 1 : -1]))


def _ends_alike(one: str, other: str) -> bool:
    """Tell whether two paths are the same but for what stands before: files may leave that out."""
    return f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}")


class _Count:
    """What has been registered, each place once: filling a model registers its parameters again."""

    def __init__(self, name: str, weights: Weights, *, per_byte: int) -> None:
        self._name, self._weights = name, weights
        self._thread = threading.get_ident()
        # Too few to matter are let through, so that torn files are told by what is wrong with them.
        self._most_values = per_byte * weights.bytes + 2**20
        # A tensor of a file may fill a few parameters, and modules without any stand between those with some.
        self._most_places = 10_000 + 64 * weights.tensors
        self._seen: set[tuple[int, str]] = set()
        self._values = self._tables = 0

    def hooks(self) -> Iterator[tuple[Callable[[Any], Any], Callable[..., None]]]:
        from torch.nn.modules import module

        yield module.register_module_parameter_registration_hook, self._parameter
        yield module.register_module_buffer_registration_hook, self._buffer
        yield module.register_module_module_registration_hook, self._module

    # A hook's answer would take the place of what is registered, so there is none.
    def _module(self, parent: Any, name: str, _: Any) -> None:
        self._is_new(parent, name)

    def _parameter(self, parent: Any, name: str, value: Any) -> None:
        if self._is_new(parent, name) and value is not None:
            self._values += value.numel()
            if self._values > self._most_values:
                raise SubjectError(
                    f"{self._name}: its configuration asks for more than {self._values:,} parameters, but"
                    f" its weights have {self._weights.bytes:,} bytes; take both from one source"
                )

    def _buffer(self, parent: Any, name: str, value: Any) -> None:
        if self._is_new(parent, name) and value is not None:
            self._tables += value.numel()
            if self._tables > LARGEST_TABLE:
                raise SubjectError(
                    f"{self._name}: its configuration asks for tables of {self._tables:,} values beside its"
                    " weights; correct the sizes in config.json (max_position_embeddings and its like)"
                )

    def _is_new(self, parent: Any, name: str) -> bool:
        """Tell whether a place is new, and of this thread's model."""
        place = (id(parent), name)
        if threading.get_ident() != self._thread or place in self._seen:
            return False
        self._seen.add(place)
        if len(self._seen) > self._most_places:
            raise SubjectError(
                f"{self._name}: its configuration asks for more than {len(self._seen):,} parts, but its"
                f" weights hold {self._weights.tensors:,} tensors; take both from one source"
            )
        return True
