"""Which paths a folder holds: each is taken once, and the check costs the same however many there are."""

from collections.abc import Iterable

from neuroscribe.errors import StoreError


class Paths:
    """The paths of files below one folder of a dataset."""

    def __init__(self, folder: str = "", *, taken: Iterable[str] = ()) -> None:
        self._below = f"{folder}/" if folder else ""
        self._files: set[str] = set(taken)
        self._folders: set[str] = set()

    def take(self, path: str) -> None:
        """Add a path; raises StoreError for one that leaves the folder, is taken, or runs through a file."""
        if not path.isprintable() or "\\" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
            where = f"the folder {self._below} of a dataset" if self._below else "a dataset"
            raise StoreError(
                f"{path!r} is no path inside {where}; use a relative one on one line, without backslashes and"
                " without names that are empty, . or .."
            )
        if path in self._files:
            raise StoreError(
                f"two files of the dataset are called {self._below}{path}; give one of them another path"
            )
        above = [path[:end] for end, letter in enumerate(path) if letter == "/"]
        clash = [path] if path in self._folders else [each for each in above if each in self._files]
        if clash:
            raise StoreError(
                f"{self._below}{clash[0]} would be a file and a folder of the dataset; give one of them"
                " another path"
            )
        self._files.add(path)
        self._folders.update(above)
