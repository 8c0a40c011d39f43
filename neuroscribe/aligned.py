"""Tables as plain text for a terminal: aligned columns that fit its width."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.escaping import escaped

NOTHING = "-"
"""Stands for what is unknown or undefined."""

Format = Callable[[Mapping[str, Any]], str]
"""Shows one value of a row."""


def aligned(
    frame: pl.DataFrame, columns: Mapping[str, Format], width: int, *, left: Collection[str] = ()
) -> list[str]:
    """Return the lines of a table, whose columns named in `left` begin at the left.

    Columns that do not fit go into a further block, after the first column again.
    """
    rows = list(frame.iter_rows(named=True))
    cells = {name: [name, *(shown(row) for row in rows)] for name, shown in columns.items()}
    padded = {name: _padded(column, left=name in left) for name, column in cells.items()}
    gap = "  " if _size(padded.values(), "  ") <= width else " "
    lines: list[str] = []
    for place, block in enumerate(_blocks(padded, width, gap)):
        lines += [""] if place else []
        lines += [gap.join(line).rstrip() for line in zip(*block, strict=True)]
    return lines


def _padded(column: Sequence[str], *, left: bool) -> list[str]:
    size = max(len(cell) for cell in column)
    return [cell.ljust(size) if left else cell.rjust(size) for cell in column]


def _size(columns: Iterable[Sequence[str]], gap: str) -> int:
    return len(gap.join(column[0] for column in columns))


def _blocks(padded: Mapping[str, Sequence[str]], width: int, gap: str) -> list[list[Sequence[str]]]:
    first, *others = padded.values()
    blocks = [[first]]
    for column in others:
        if len(blocks[-1]) == 1 or _size([*blocks[-1], column], gap) <= width:
            blocks[-1].append(column)
        else:
            blocks.append([first, column])
    return blocks


def counted(column: str) -> Format:
    """Show a whole number with its thousands apart."""
    return lambda row: NOTHING if row[column] is None else f"{row[column]:,}"


def worded(column: str) -> Format:
    """Show a text, escaped."""
    return lambda row: NOTHING if row[column] is None else escaped(str(row[column]).encode())


def dollars(column: str) -> Format:
    """Show money."""
    return lambda row: NOTHING if row[column] is None else f"${row[column]:,.4f}"
