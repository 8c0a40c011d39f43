"""The pictures of docs/scores.md: how often intervals hold the truth, and what a too broad label gets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SCORE, PAPER, CORPUS = "#1b6ca8", "#d1793b", "#555555"
_WANTED = 0.95


def draw_coverage(kinds: Mapping[str, Mapping[str, tuple[float, float]]], path: Path) -> None:
    """Draw, by kind of neuron and label, the coverage of the score's intervals and of the paper's."""
    canvas, panels = _canvas(len(kinds), width=9)
    for axes, (kind, labels) in zip(panels, kinds.items(), strict=True):
        rows = np.arange(len(labels))[::-1]
        score, paper = zip(*labels.values(), strict=True)
        axes.barh(rows + 0.2, score, 0.38, color=SCORE, label="this score")
        axes.barh(rows - 0.2, paper, 0.38, color=PAPER, label="top and random, bootstrap")
        axes.axvline(_WANTED, color=CORPUS, linestyle=":", linewidth=1)
        axes.set(xlim=(0, 1), title=f"{kind} neurons", xlabel="95 % intervals that hold the corpus's value")
        axes.set_yticks(rows, labels)
    panels[0].legend(loc="lower center", bbox_to_anchor=(0.5, -0.42), ncols=2, frameon=False)
    _save(canvas, path)


def draw_too_broad(kinds: Mapping[str, Sequence[tuple[float, float, float]]], path: Path) -> None:
    """Draw what a label five times too broad gets over the exact one, against what it gets on the corpus."""
    canvas, panels = _canvas(len(kinds), width=7)
    for axes, (kind, ratios) in zip(panels, kinds.items(), strict=True):
        corpus, score, paper = (np.array(each) for each in zip(*ratios, strict=True))
        axes.plot([0, 1.1], [0, 1.1], color=CORPUS, linestyle=":", linewidth=1)
        axes.scatter(corpus, paper, s=14, color=PAPER, label="top and random")
        axes.scatter(corpus, score, s=14, color=SCORE, label="this score")
        axes.set(xlim=(0, 1.1), ylim=(0, 1.1), title=f"{kind} neurons", xlabel="on the whole corpus")
    panels[0].set_ylabel("score of the too broad label,\nthe exact one = 1")
    panels[0].legend(loc="upper left", frameon=False)
    _save(canvas, path)


def _canvas(panels: int, *, width: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(width, 3.4), layout="constrained")
    return canvas, canvas.subplots(1, panels, sharey=True, squeeze=False)[0]


def _save(canvas: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=110)
