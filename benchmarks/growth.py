"""How the time of a capture's reduction grows with sequences, neurons and k: slopes on logarithmic axes.

A slope of 1 means twice the time for twice as much. The forward pass is left out: it grows with the model.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.alone import one_thread
from benchmarks.capture import LENGTH
from benchmarks.figures import Figure, figure
from neuroscribe.capture import CapturePlan, kernel
from neuroscribe.capture.state import empty_state

PLOT = Path(__file__).parent / "growth.png"
BATCH, REPEATS = 16, 3
SEQUENCES, NEURONS, K = 1024, 1024, 20
SERIES: dict[str, tuple[int, ...]] = {
    "sequences": (256, 512, 1024, 2048, 4096, 8192),
    "neurons": (256, 512, 1024, 2048, 4096),
    "k": (5, 10, 20, 40, 80),
}


def growth_figures() -> Iterator[Figure]:
    """Yield the slopes, and draw what they were taken from."""
    with one_thread():
        _seconds(sequences=64)
        seconds = {name: [_seconds(**{name: size}) for size in sizes] for name, sizes in SERIES.items()}
    for name, sizes in SERIES.items():
        slope = float(np.polyfit(np.log(sizes), np.log(seconds[name]), 1)[0])
        yield figure(f"capture.growth.{name}", [slope], "slope", n=max(sizes))
    _draw(seconds)


def _seconds(*, sequences: int = SEQUENCES, neurons: int = NEURONS, k: int = K) -> float:
    """Return the least processor time of reducing that many sequences of random activations."""
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(BATCH, LENGTH, neurons, generator=generator) for _ in range(4)]
    scales = torch.rand(sequences // BATCH, BATCH, 1, 1, generator=generator) + 0.5
    plan = CapturePlan(k, (1,), ())
    least = math.inf
    for _ in range(REPEATS):
        state = empty_state(plan, neurons=neurons, tokens=LENGTH)
        spent = 0.0
        for place, scale in enumerate(scales):
            # Scaled anew, so that peaks are all different and the top k settles as it does on text.
            values = batches[place % 4] * scale
            started = time.process_time()
            kernel.take(state, values, range(place * BATCH, (place + 1) * BATCH), plan)
            spent += time.process_time() - started
        least = min(least, spent)
    return least


def _draw(seconds: dict[str, list[float]]) -> None:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(9, 3), layout="constrained")
    for axes, (name, sizes) in zip(canvas.subplots(1, 3), SERIES.items(), strict=True):
        axes.loglog(sizes, seconds[name], "o-")
        reference = [seconds[name][0] * size / sizes[0] for size in sizes]
        axes.loglog(sizes, reference, ":", color="grey", label="slope 1")
        axes.set(xlabel=name, title=f"time against {name}")
        axes.legend()
    canvas.axes[0].set_ylabel("seconds in the reduction")
    canvas.savefig(PLOT, dpi=110)
