"""Stores in memory and a progress that says nothing, for runs that need neither disk nor terminal."""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle

from torch import Tensor

from neuroscribe.errors import StoreError
from neuroscribe.ports.silent import Silent


class MemoryTensors:
    """Fulfils the port `TensorStore`; what is written is copied, as a file would be."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[dict[str, Tensor], dict[str, str]]] = {}
        self.written: list[str] = []
        """Paths in the order of writing, once per write."""

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""
        return path in self.files

    def write(self, path: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
        """Keep a copy and return its size in bytes."""
        copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        self.files[path] = copies, dict(metadata)
        self.written.append(path)
        return sum(tensor.nbytes for tensor in copies.values())

    def read(self, path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return copies of the tensors and the metadata; raises StoreError when there is no such file."""
        tensors, metadata = self._file(path)
        return {name: tensor.clone() for name, tensor in tensors.items()}, dict(metadata)

    def metadata(self, path: str) -> dict[str, str]:
        """Return the metadata; raises StoreError when there is no such file."""
        return dict(self._file(path)[1])

    def read_parts(
        self, paths: Sequence[str], parts: Mapping[str, tuple[slice, ...]]
    ) -> list[tuple[dict[str, Tensor], dict[str, str]]]:
        """Return copies of parts of the tensors, and the metadata, of each file."""
        files = [self._file(path) for path in paths]
        return [
            ({name: tensors[name][index].clone() for name, index in parts.items()}, dict(metadata))
            for tensors, metadata in files
        ]

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted."""
        return sorted(path.rpartition("/")[2] for path in self.files if path.rpartition("/")[0] == folder)

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        self.files.pop(path, None)

    def _file(self, path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        if path not in self.files:
            raise StoreError(f"{path}: is not there; materialise the asset that writes it first")
        return self.files[path]


class MemoryCalls:
    """Fulfils the ports `CallStore` and `KeptCalls`."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, object]] = {}

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None."""
        return self.answers.get(key)

    def put(self, key: str, answer: Mapping[str, object]) -> None:
        """Store an answer as JSON carries it: tuples come back as lists."""
        self.answers[key] = json.loads(json.dumps(dict(answer)))

    def keys(self) -> Iterator[str]:
        """Yield the keys of all answers, in order."""
        yield from sorted(self.answers)


class MemoryDatasets:
    """Fulfils the port `DatasetStore`; a draft counts only when it is left without an error."""

    def __init__(self) -> None:
        self.datasets: dict[str, dict[str, bytes]] = {}
        """The files of each study's dataset, by path, in the order of writing."""

    @contextmanager
    def draft(self, study: str) -> Generator[Callable[[str, Iterable[bytes]], None]]:
        """Open a draft; the value yielded writes one file."""
        files: dict[str, bytes] = {}

        def write(path: str, chunks: Iterable[bytes]) -> None:
            assert path not in files, f"{path} is written twice"
            files[path] = b"".join(chunks)

        yield write
        self.datasets[study] = files

    def uri(self, study: str) -> str:
        """Return an address that leads nowhere."""
        return f"memory://{study}"


class SilentProgress(Silent):
    """A progress that counts what was done.

    With `fail_at`, the n-th advance of the whole life (from 1) raises `Interrupted`, as a kill would. Alarms
    ring at every `rings`-th question, or never; the question after a ring, which only tells how long its work
    took, does not count.
    """

    def __init__(self, *, fail_at: int | None = None, rings: int = 0) -> None:
        self.done: dict[str, int] = {}
        """Units done, by the label of the task."""
        self.totals: dict[str, int] = {}
        self.notes: list[str] = []
        self._fail_at = fail_at
        self._advances = 0
        self._rings = rings

    @contextmanager
    def task(self, label: str, *, total: int, unit: str) -> Generator[Callable[..., None]]:
        """Open a task; the value yielded is `advance(n=1, note="")`."""
        self.totals[label] = total
        self.done.setdefault(label, 0)

        def advance(n: int = 1, note: str = "") -> None:
            self._advances += 1
            if self._advances == self._fail_at:
                raise Interrupted
            self.done[label] += n
            self.notes.append(note)

        yield advance

    def alarm(self, seconds: float) -> Callable[[], bool]:
        """Return a function that is true at every so many-th call, whatever time has passed."""
        if not self._rings:
            return super().alarm(seconds)
        answers = cycle([False] * (self._rings - 1) + [True, False])
        return lambda: next(answers)


class Interrupted(Exception):  # noqa: N818 - stands for a kill, not an error
    """Ends a run from outside at a place of the test's choosing."""
