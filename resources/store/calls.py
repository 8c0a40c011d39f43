"""Keeps every LLM answer as one JSON file under the hash of its question, in a folder or a bucket.

A file is written whole or not at all, so one that cannot be read was damaged from outside: that is said,
never guessed around.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from upath import UPath

from neuroscribe.errors import StoreError
from resources.store.files import Files, Stored


class FolderCalls:
    """Answers below a local folder or `s3://bucket/prefix`; fulfils CallStore and KeptCalls."""

    def __init__(self, root: str | PurePath | UPath, *, endpoint_url: str | None = None) -> None:
        self._files = Files(str(root), endpoint_url=endpoint_url)

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None; raises StoreError for a file that cannot be read."""
        path = self._files.path(_file(key))
        try:
            answer = json.loads(self._files.read(_file(key)))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{path}: damaged ({error}); delete it, and the call is made again") from error
        if not isinstance(answer, dict):
            raise StoreError(f"{path}: holds no answer; delete it, and the call is made again")
        return answer

    def put(self, key: str, answer: Mapping[str, object]) -> None:
        """Store an answer whole or not at all; raises StoreError when the store cannot be written."""
        # Escaped, because replies may hold lone surrogates, which UTF-8 cannot carry.
        self._files.write(_file(key), json.dumps(dict(answer), ensure_ascii=True).encode())

    def keys(self) -> Iterator[str]:
        """Yield the keys of all answers, in order."""
        for folder in self._files.names(""):
            if len(folder) == 2:
                for name in self._files.names(folder):
                    yield name.removesuffix(".json")


def _file(key: str) -> str:
    """Return a key's file; 256 folders keep each one short enough to list."""
    assert key.isalnum(), f"{key!r} is no content hash"
    return f"{key[:2]}/{key}.json"


class Calls(Stored):
    """The answers beside the tables of a store, shared by all studies, as a resource; fulfils CallStore.

    It is no FolderCalls itself: Dagster takes a resource with `keys` for a mapping, and loses its fields.
    """

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None."""
        return self._folder.get(key)

    def put(self, key: str, answer: Mapping[str, object]) -> None:
        """Store an answer atomically."""
        self._folder.put(key, answer)

    @property
    def _folder(self) -> FolderCalls:
        return FolderCalls(f"{self.root.rstrip('/')}/calls", endpoint_url=self.endpoint_url)
