"""The stable identity of inputs: canonical JSON, hashed. It raises on values that have no such identity."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, cast

from pydantic import BaseModel


def canonical(value: object) -> Any:
    """Return `value` as plain JSON data with one form per meaning.

    Raises TypeError for values whose text form is not stable (objects, sets, NaN, keys that read the same),
    naming the value.
    """
    if isinstance(value, BaseModel):
        return canonical(value.model_dump(mode="python"))
    if isinstance(value, Enum):
        return canonical(value.value)
    if isinstance(value, Mapping):
        items = cast(Mapping[object, object], value)
        plain = {str(key): canonical(items[key]) for key in sorted(items, key=str)}
        if len(plain) < len(items):
            raise TypeError(f"keys {list(items)!r} read the same as text; pass distinct keys instead")
        return plain
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [canonical(item) for item in cast(Sequence[object], value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value!r} has no stable identity and cannot be part of a fingerprint")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} {value!r} has no stable identity; pass plain data instead")


def fingerprint(*parts: object) -> str:
    """Return 64 hex digits that are equal exactly when the parts mean the same."""
    text = json.dumps(canonical(parts), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Surrogates pass, because an LLM's reply may hold half of a pair.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
