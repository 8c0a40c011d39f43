"""Lines of a report: text that is wrapped, and what stands for the unknown."""

import textwrap
from collections.abc import Mapping
from typing import Any

NOTHING = "-"
"""Stands for what is unknown or undefined."""


def wrapped(text: str, width: int, *, indent: str = "") -> list[str]:
    """Return text in lines; what follows the first is set in by two more characters."""
    following = indent + "  "
    return textwrap.wrap(text, max(40, width), initial_indent=indent, subsequent_indent=following)


def interval(row: Mapping[str, Any]) -> str:
    """Show the interval of a row."""
    if row["ci_low"] is None or row["ci_high"] is None:
        return NOTHING
    return f"[{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
