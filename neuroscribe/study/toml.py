"""A study file as plain data, within bounds: whatever the file holds, it is read or refused at once."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from neuroscribe.errors import StudyError

LARGEST = 1 << 20
"""Bytes of a study file; those written by people have a few thousand."""
DEEPEST = 8
"""Tables and lists within each other; a study needs 3."""
# The parser's time grows with the square of a key's parts.
_KEY = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_KEY}){{{2 * DEEPEST}}}")


def study_data(path: Path) -> dict[str, Any]:
    """Return what a study file holds; raises StudyError for one that cannot be read, or is beyond bounds."""
    text = _text(path)
    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise StudyError(f"{path}: line {line} names tables within tables without end; correct it")
    try:
        data = tomllib.loads(text)
    except RecursionError as error:
        raise StudyError(f"{path}: lists or tables are nested without end; correct it") from error
    except ValueError as error:  # not only TOML's own: a number may have too many digits
        raise StudyError(f"{path}: not valid TOML ({brief(error)}); correct the line it names") from error
    if (depth := _depth(data)) > DEEPEST:
        raise StudyError(f"{path}: {depth} lists or tables within each other, and a study has 3; correct it")
    return data


def brief(value: object) -> str:
    """Return a value as text that fits into a message."""
    text = str(value)
    return text if len(text) <= 200 else f"{text[:150]}... ({len(text)} characters)"


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise StudyError(f"{path}: is no file; move it out of the folder of studies")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise StudyError(f"{path}: is larger than {LARGEST:,} bytes, and no study is; correct it")
        return data.decode("utf-8-sig")  # some editors put a mark before the text
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: not valid TOML ({error}); save it as UTF-8") from error


def _depth(data: Any) -> int:
    """Return how many tables and lists lie within each other, without recursion."""
    depth = 0
    level: list[Any] = [data]
    while any(isinstance(each, dict | list) for each in level):
        depth += 1
        level = [value for each in level for value in _held(each)]
    return depth


def _held(value: Any) -> Iterable[Any]:
    """Return what a table or list holds; nothing for any other value."""
    match value:
        case dict():
            return cast(dict[str, Any], value).values()
        case list():
            return cast(list[Any], value)
        case _:
            return ()
