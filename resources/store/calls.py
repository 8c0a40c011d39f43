"""Keeps every LLM answer as one JSON file under the hash of its question, in a folder or a bucket.

A file holds its own key, the answer and a checksum (CRC-32) of both, so that one that was damaged from
outside, or has taken another's place, is noticed: that is said, never guessed around. Files from before hold
the answer alone.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, cast

from upath import UPath

from neuroscribe.errors import StoreError
from resources.store.files import Files, Stored

_KEY, _CHECKSUM, _STORED = _NAMES = ("key", "crc32", "stored")
"""What a file holds; no answer from before has fields of these names."""
_FILE = re.compile(r"([0-9A-Za-z]+)\.json")


class FolderCalls:
    """Answers below a local folder or `s3://bucket/prefix`; fulfils CallStore and KeptCalls."""

    def __init__(self, root: str | PurePath | UPath, *, endpoint_url: str | None = None) -> None:
        self._files = Files(str(root), endpoint_url=endpoint_url)

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None.

        Raises StoreError for a file that cannot be read, has changed since it was written, or holds the
        answer to another question.
        """
        try:
            return _answer(key, self._files.read(_file(key)))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{self._files.path(_file(key))}: {error}; remove it, and the call is made again"
            ) from error

    def put(self, key: str, answer: Mapping[str, object]) -> None:
        """Store an answer whole or not at all; raises StoreError when the store cannot be written."""
        # Escaped, because replies may hold lone surrogates, which UTF-8 cannot carry.
        text = json.dumps(dict(answer), ensure_ascii=True)
        whole = f'{{"{_KEY}": "{key}", "{_CHECKSUM}": "{_checksum(key, text)}", "{_STORED}": {text}}}'
        self._files.write(_file(key), whole.encode())

    def keys(self) -> Iterator[str]:
        """Yield the keys of all answers, in order."""
        for folder in self._files.names(""):
            if len(folder) == 2:
                for name in self._files.names(folder):
                    if found := _FILE.fullmatch(name):
                        yield found[1]


def _file(key: str) -> str:
    """Return a key's file; 256 folders keep each one short enough to list."""
    assert key.isalnum(), f"{key!r} is no content hash"
    return f"{key[:2]}/{key}.json"


def _answer(key: str, data: bytes) -> dict[str, object]:
    """Return the answer that a file holds; raises ValueError for a file that holds none to this key."""
    stored = _object(data)
    if not stored.keys() & set(_NAMES):
        return stored  # from before there were checksums
    named, checksum, answer = (stored.get(name) for name in _NAMES)
    whole = set(stored) == set(_NAMES) and isinstance(answer, dict)
    # As it was written, or as a person has laid it out since: forming the text anew takes as long as reading.
    if not whole or not (
        checksum == _checksum(named, _text_of(data)) or checksum == _checksum(named, json.dumps(answer))
    ):
        raise ValueError(
            "damaged: its bytes have changed since it was written (the checksum in it is that of others)"
        )
    if named != key:
        raise ValueError(f"holds the answer to another question ({named})")
    return cast(dict[str, object], answer)


def _object(data: bytes) -> dict[str, Any]:
    try:
        stored = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"damaged ({error})") from error
    if not isinstance(stored, dict):
        raise ValueError("holds no answer")
    return cast(dict[str, Any], stored)


def _text_of(data: bytes) -> str:
    """Return the text of the answer in a file as it was written."""
    return data.partition(f'"{_STORED}": '.encode())[2][:-1].decode(errors="replace")


def _checksum(key: object, text: str) -> str:
    """Return the checksum of a key and the JSON of its answer."""
    return f"{zlib.crc32(f'{key} {text}'.encode()):08x}"


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
