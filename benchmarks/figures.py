"""Figures: what a benchmark gives back, where they are written, and the table that people read."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

HERE = Path(__file__).parent
LATEST = HERE / "latest.json"
RESULTS = HERE / "RESULTS.md"
LOAD = os.getloadavg()[0]
"""Processes that wanted a core in the minute before the benchmarks began."""
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True)
class Figure:
    """One number; `name` is dotted and stays the same for ever, or its history is lost."""

    name: str
    value: float
    unit: str
    n: int
    """Sequences captured, or neurons scored."""
    device: str
    date: str
    commit: str


def figure(name: str, values: Sequence[float], unit: str, *, n: int, detail: str = "") -> Figure:
    """Return the median of several runs, stamped with device, date and commit."""
    value = statistics.median(values)
    spread = f" ({min(values):.4g} to {max(values):.4g} in {len(values)} runs)" if len(values) > 1 else ""
    print(f"{name} = {value:.4g} {unit}{spread}", flush=True)
    today = datetime.now(UTC).date().isoformat()
    return Figure(name, round(value, 6), unit, n, f"{_processor()}{detail}", today, _commit())


def write(figures: Iterable[Figure], *, part: str) -> None:
    """Write one part's figures in the place of its earlier ones, to latest.json and to RESULTS.md's table.

    A part that could measure nothing leaves its earlier ones. Each file is written whole or not at all.
    """
    fresh = [{**asdict(measured), "part": part} for measured in figures]
    if not fresh:
        return
    names = {row["name"] for row in fresh}
    before: list[dict[str, object]] = (
        json.loads(LATEST.read_text(encoding="utf-8")) if LATEST.exists() else []
    )
    kept = [row for row in before if row["name"] not in names and row.get("part") != part]
    rows = sorted([*kept, *fresh], key=lambda row: str(row["name"]))
    _replace(LATEST, json.dumps(rows, indent=1) + "\n")
    head, _, rest = RESULTS.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    _replace(RESULTS, f"{head}{BEGIN}\n{_table(rows)}\n{END}{tail}")


def _table(rows: Sequence[dict[str, object]]) -> str:
    columns = ("name", "value", "unit", "n", "device", "date", "commit")
    lines = [columns, ("---",) * len(columns)]
    lines += [
        tuple(f"`{row[c]}`" if c in ("name", "commit") else _cell(row[c]) for c in columns) for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _replace(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _processor() -> str:
    """Return the processor's name as the system tells it, and the threads torch uses."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    busy = f", busy (load {LOAD:.1f})" if LOAD > 0.5 else ""
    return f"cpu {name}, {torch.get_num_threads()} threads{busy}"


def _commit() -> str:
    """Return the commit measured, with a plus sign where files differ from it, or `unknown` outside git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(HERE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - git, with fixed arguments

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "..", ":!.")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
