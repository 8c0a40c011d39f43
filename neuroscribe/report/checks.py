"""How a study's checks stand, as text: what fails and what warns first, with findings, then each check."""

from collections.abc import Sequence

import polars as pl

from neuroscribe.report.lines import wrapped
from neuroscribe.report.text import aligned, counted, worded
from neuroscribe.text.escaping import escaped

STANDING = {
    "stage": pl.String(), "place": pl.String(), "check": pl.String(), "status": pl.String(),
    "finding": pl.String(),
}  # fmt: skip
"""One row per check and place (`layer_00`, or `all` for a stage without layers) that was examined."""
PASSES, WARNS, FAILS = "passes", "warns", "fails"


def standing_line(standing: pl.DataFrame) -> str:
    """Return in words how many checks pass, warn and fail; each layer's counts by itself."""
    if standing.is_empty():
        return "no check has been made"
    counts = dict(standing.group_by("status").len().iter_rows())
    passed = counts.pop(PASSES, 0)
    parts = ["1 check passes" if passed == 1 else f"{passed:,} checks pass"]
    parts += [f"{counts[WARNS]:,} warn"] if WARNS in counts else []
    parts += [f"{counts[FAILS]:,} fail"] if FAILS in counts else []
    return ", ".join(parts)


def warning_lines(standing: pl.DataFrame, width: int) -> list[str]:
    """Return what stands at the end of a run: which checks fail and warn; nothing where all pass."""
    bad = _bad(standing)
    if bad.is_empty():
        return []
    return [
        f"{standing_line(standing)}:",
        *(line for row in bad.iter_rows(named=True) for line in wrapped(_said(row), width, indent="  ")),
    ]


def standing_text(study: str, standing: pl.DataFrame, width: int) -> str:
    """Return the page of a study's checks for a terminal."""
    head = f"Checks of study {escaped(study.encode())}: {standing_line(standing)}"
    columns = {"asset": worded("stage"), "check": worded("check")}
    counts = {name: counted(name) for name in (PASSES, WARNS, FAILS)}
    table = aligned(_by_check(standing), {**columns, **counts}, width, left=("asset", "check"))
    blocks = [[head, *warning_lines(standing, width)[1:]], table if len(standing) else []]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def standing_markdown(standing: pl.DataFrame) -> str:
    """Return the same as Markdown, for the asset that holds a study's results."""
    bad = [
        (row["stage"], row["place"], row["check"], row["status"], row["finding"])
        for row in _bad(standing).iter_rows(named=True)
    ]
    every = [tuple(map(str, row)) for row in _by_check(standing).iter_rows()]
    return "\n".join(
        [
            f"{standing_line(standing)}.",
            "",
            *(_table(("asset", "layer", "check", "", "finding"), bad) if bad else []),
            *(_table(("asset", "check", PASSES, WARNS, FAILS), every) if every else []),
        ]
    )


def _bad(standing: pl.DataFrame) -> pl.DataFrame:
    """Return what does not pass, failures first."""
    return standing.filter(pl.col("status") != PASSES).sort(pl.col("status") != FAILS, maintain_order=True)


def _by_check(standing: pl.DataFrame) -> pl.DataFrame:
    """Return in how many places each check passes, warns and fails."""
    return standing.group_by("stage", "check", maintain_order=True).agg(
        **{name: (pl.col("status") == name).sum() for name in (PASSES, WARNS, FAILS)}
    )


def _said(row: dict[str, str]) -> str:
    place = "" if row["place"] == "all" else f" {row['place']}"
    return f"{row['status']}: {row['stage']}{place} {row['check']} ({escaped(row['finding'].encode())})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table; findings are ours, and hold no text of others."""
    lines = [header, ["---"] * len(header), *rows]
    return [*(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines), ""]
