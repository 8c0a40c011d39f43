"""What a path or glob names, local or on S3, as a shell reads it.

Names that begin with a dot (notebook checkpoints, macOS's and editors' files) are matched by no wildcard. A
name that is there, brackets and all, is itself and no pattern.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

from upath import UPath

_WILD = frozenset("*?[")


def matching_files(pattern: str, where: Callable[[str], UPath]) -> Iterator[UPath]:
    """Yield the files that a path or glob names; `where` returns what an address leads to.

    Raises ValueError for a pattern that cannot be one.
    """
    address, below = _parted(pattern, where)
    folder = where(address)
    if not below:
        yield from (path for path in (folder,) if path.is_file())
        return
    for name in _names(folder, below):
        if not _is_hidden(PurePath(name).parts, below):
            yield folder / name


def _parted(pattern: str, where: Callable[[str], UPath]) -> tuple[str, list[str]]:
    """Return the address of the folder, up to the first wildcard, and the parts of the pattern below it."""
    protocol, mark, rest = pattern.rpartition("://")
    parts = rest.split("/")
    for index, part in enumerate(parts):
        if _WILD & set(part):
            upto = f"{protocol}{mark}{'/'.join(parts[: index + 1])}"
            if "[" not in part or {"*", "?"} & set(part) or not where(upto).exists():
                folder = "/".join(parts[:index]) or ("/" if rest.startswith("/") else ".")
                return f"{protocol}{mark}{folder}", [each for each in parts[index:] if each not in ("", ".")]
    return pattern, []


def _names(folder: UPath, below: Sequence[str]) -> Iterator[str]:
    """Yield the files that match below a folder, by path from there."""
    if folder.protocol in ("", "file", "local"):
        # The system's own path: that of an address (file://) takes brackets above the glob for a pattern.
        local = Path(folder.path)
        yield from (str(path.relative_to(local)) for path in local.glob("/".join(below)) if path.is_file())
        return
    base = folder.path.rstrip("/") + "/"
    escaped = re.sub(r"([*?\[])", r"[\1]", base)
    found: Any = folder.fs.glob(escaped + "/".join(below), detail=True)
    for name, facts in found.items():
        if facts["type"] == "file":
            yield name.removeprefix(base)


def _is_hidden(names: Sequence[str], below: Sequence[str]) -> bool:
    """Tell whether one of the names begins with a dot, and the pattern does not where it matches it."""
    dotted = [part for part in below if part.startswith(".")]
    if "**" in below:  # any part may be the one that matches
        return any(name.startswith(".") and not _match(name, dotted) for name in names)
    return any(name.startswith(".") and part not in dotted for name, part in zip(names, below, strict=False))


def _match(name: str, parts: Sequence[str]) -> bool:
    return any(fnmatchcase(name, part) for part in parts)
