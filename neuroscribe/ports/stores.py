"""What is kept, and shown while it is made: progress, calls, tensors and datasets, as protocols."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # what keeps no tensors runs without torch, which takes seconds to import
    from torch import Tensor


@runtime_checkable
class Progress(Protocol):
    """Shows how far long work has come, its rate and the remaining time, and tells when time has passed."""

    def task(self, label: str, *, total: int, unit: str) -> AbstractContextManager[Callable[..., None]]:
        """Open a task; the value yielded is `advance(n=1, note="")`, called as work is done."""
        ...

    def alarm(self, seconds: float) -> Callable[[], bool]:
        """Return a function that is true at its first call after each `seconds`, and else false."""
        ...


@runtime_checkable
class CallStore(Protocol):
    """Keeps every answer by the content hash of its question, so that none is paid for twice."""

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None."""
        ...

    def put(self, key: str, answer: Mapping[str, object]) -> None:
        """Store an answer atomically; storing the same key again is harmless."""
        ...


@runtime_checkable
class KeptCalls(Protocol):
    """A store of answers that can be gone through."""

    def keys(self) -> Iterable[str]:
        """Return the keys of all answers, in order."""
        ...

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None."""
        ...


@runtime_checkable
class TensorStore(Protocol):
    """Keeps named tensors in safetensors files."""

    def exists(self, path: str) -> bool:
        """Tell whether a file is there, whole."""
        ...

    def write(self, path: str, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> int:
        """Write a file atomically and return its size in bytes."""
        ...

    def read(self, path: str) -> "tuple[dict[str, Tensor], dict[str, str]]":
        """Return the tensors and the metadata of a file."""
        ...

    def metadata(self, path: str) -> dict[str, str]:
        """Return the metadata of a file without reading its tensors."""
        ...

    def read_parts(
        self, paths: Sequence[str], parts: Mapping[str, tuple[slice, ...]]
    ) -> "list[tuple[dict[str, Tensor], dict[str, str]]]":
        """Return, of each file, `tensor[slices]` for the tensors named in `parts`, and the metadata.

        Slices have no steps. Little more is read than the rows that the first slice takes.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none for a folder that is not there."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        ...


@runtime_checkable
class DatasetStore(Protocol):
    """Keeps one dataset per study."""

    def draft(self, study: str) -> AbstractContextManager[Callable[[str, Iterable[bytes]], None]]:
        """Open a draft; the value yielded writes one file, by path below the dataset and bytes in pieces.

        Leaving normally replaces the previous dataset at once; leaving by an error drops the draft. A killed
        writer leaves the previous dataset.
        """
        ...

    def uri(self, study: str) -> str:
        """Return the address of the study's dataset."""
        ...
