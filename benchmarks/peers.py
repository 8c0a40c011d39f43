"""What capture costs against TransformerLens, nnsight and a naive gathering, on the same work in one run.

The work: of every MLP neuron of a GPT-2 with random weights, the exact top 20 sequences by peak with their
activations, and mean, variance, skewness and kurtosis. Capture keeps extremes, counts and
histograms of peaks besides.
Time is processor time of one thread: on a busy machine torch's threads wait long for one another, and wall
time over two of them gave ratios from 0.13 to 1.9 for what is 0.9 on a quiet one.

The peers are not dependencies of this project. To have their figures too:

    .venv/bin/pip list --format=freeze --exclude-editable > .venv/releases
    .venv/bin/pip install -c .venv/releases transformer-lens nnsight

Where the processor computes in bfloat16 the same is measured in it: there the pass is short, and what is done
with the neurons counts for more.

`python -m benchmarks.peers` measures these figures alone, `python -m benchmarks.peers gpt2_width` those of a
wider model.
"""

import gc
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from benchmarks.alone import PROCESS, one_thread, printed_apart, resident
from benchmarks.capture import GPT2_WIDTH, dtypes
from benchmarks.figures import Figure, figure
from benchmarks.peer_variants import LENGTH, VARIANTS, Found

SEQUENCES, WARM_UP, REPEATS, MEMORY_REPEATS = 512, 40, 5, 3
SMALL: dict[str, Any] = GPT2_WIDTH | {"n_embd": 256, "n_inner": 1024, "n_head": 4}
TINY: dict[str, Any] = GPT2_WIDTH | {"n_embd": 16, "n_inner": 32, "n_head": 2, "n_layer": 2}
SHAPES = {"small": SMALL, "gpt2_width": GPT2_WIDTH}
OURS = {"neuroscribe": "", "neuroscribe_fused": ".fused", "neuroscribe_optimised": ".optimised"}
"""Our variants, and how the names of their figures end."""
PACKAGES = {"transformer_lens": "transformer-lens", "nnsight": "nnsight"}
"""The peers' modules, and what pip calls them."""

Measured = dict[str, list[float]]


def peer_figures(shape: str = "small") -> Iterator[Figure]:
    """Yield time and memory of capture over those of each peer at hand, after comparing what they find."""
    names = [name for name in VARIANTS if _usable(name)]
    for dtype in dtypes().values():
        with one_thread():
            seconds = _seconds(names, shape, dtype)
        yield from _ratios("ratio", seconds, shape, dtype, ", timed on one thread")
        if (PROCESS / "clear_refs").exists():
            yield from _ratios("memory", _megabytes(names, shape, dtype), shape, dtype)
        else:
            print("peak memory is read from Linux's /proc: the figures capture.peer_memory.* are left out")


def extra_megabytes(name: str, shape: str, dtype: torch.dtype) -> float:
    """Return the peak of this process's resident memory while a variant runs, less that just before.

    A run over a tiny model comes first, so that imports and compilers are not counted.
    """
    tokens = _tokens()
    VARIANTS[name](TINY, dtype)(tokens[:WARM_UP])
    run = VARIANTS[name](SHAPES[shape], dtype)
    gc.collect()
    (PROCESS / "clear_refs").write_text("5", encoding="ascii")  # the peak starts again from here
    before = resident("VmRSS")
    run(tokens)
    return (resident("VmHWM") - before) / 1e6


def _usable(name: str) -> bool:
    """Tell whether a variant can run here; print how to install it where it cannot."""
    package = PACKAGES.get(name)
    if package is None:
        return True
    if find_spec(name) is None:
        print(
            f"{name} is not installed, its figures are left out;"
            f" to have them: .venv/bin/pip install {package}, as benchmarks/peers.py says"
        )
        return False
    print(f"{package} {version(package)}")
    return True


def _ratios(what: str, measured: Measured, shape: str, dtype: torch.dtype, how: str = "") -> Iterator[Figure]:
    """Yield our number over each peer's, pair by pair, in the same round."""
    suffix = "" if shape == "small" else f".{shape}"
    suffix += "" if dtype == torch.float32 else ".bf16"
    detail = f", {dtype}{how}".replace("torch.", "")
    for ours, ending in OURS.items():
        for peer in [name for name in measured if name not in OURS]:
            ratios = [one / other for one, other in zip(measured[ours], measured[peer], strict=True)]
            name = f"capture.peer_{what}.{peer}{ending}{suffix}"
            yield figure(name, ratios, f"x {peer}", n=SEQUENCES, detail=detail)


def _seconds(names: list[str], shape: str, dtype: torch.dtype) -> Measured:
    """Time the variants in turns, back and forth; a first round, not counted, compares what they find."""
    tokens = _tokens()
    runs = {name: VARIANTS[name](SHAPES[shape], dtype) for name in names}
    expected = runs[names[0]](tokens)
    for name in names[1:]:
        _check_equal(runs[name](tokens), expected, dtype)
    del expected
    seconds: Measured = {name: [] for name in names}
    for repeat in range(REPEATS):
        for name in names[:: -1 if repeat % 2 else 1]:
            gc.collect()
            started = time.process_time()
            runs[name](tokens)
            seconds[name].append(time.process_time() - started)
    return _told(seconds, "s")


def _megabytes(names: list[str], shape: str, dtype: torch.dtype) -> Measured:
    """Measure the extra memory of each variant, each time in a process of its own."""
    megabytes: Measured = {name: [] for name in names}
    for _ in range(MEMORY_REPEATS):
        for name in names:
            printed = printed_apart("benchmarks.peers", shape, name, str(dtype))
            megabytes[name].append(float(printed.split()[-1]))
    return _told(megabytes, "MB")


def _told(measured: Measured, unit: str) -> Measured:
    for name, values in measured.items():
        print(f"{name}: {' '.join(f'{value:.4g}' for value in values)} {unit}", flush=True)
    return measured


def _check_equal(layers: list[Found], expected: list[Found], dtype: torch.dtype) -> None:
    """Check values and moments of all neurons, and activations where both keep the same sequence.

    Sequences may differ where peaks are equal, or nearly so: TransformerLens has an attention of its own, and
    in bfloat16 many peaks are equal.
    """
    exact = dtype == torch.float32
    near, nearest = (1e-4, 1e-5) if exact else (0.05, 0.02)
    alike, least = (1e-3, 1e-4) if exact else (0.05, 0.05)
    for layer, other in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.value.float(), other.value.float(), rtol=near, atol=nearest)
        torch.testing.assert_close(layer.vector.amax(2).float(), layer.value.float(), rtol=0, atol=0)
        same = layer.sequence == other.sequence
        assert same.float().mean() > (0.99 if exact else 0.3), "the variants keep other sequences"
        torch.testing.assert_close(layer.vector[same], other.vector[same], rtol=near, atol=nearest)
        torch.testing.assert_close(layer.moments.double(), other.moments.double(), rtol=alike, atol=least)


def _tokens() -> Int[Tensor, "sequence token"]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(GPT2_WIDTH["vocab_size"], (SEQUENCES, LENGTH), generator=generator)


def main() -> None:
    """Measure all figures, or with `SHAPE VARIANT DTYPE` print the extra memory of one variant."""
    if len(sys.argv) > 2:
        print(extra_megabytes(sys.argv[2], sys.argv[1], getattr(torch, sys.argv[3].removeprefix("torch."))))
    else:
        list(peer_figures(*sys.argv[1:]))


if __name__ == "__main__":
    main()
