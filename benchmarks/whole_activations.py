"""What whole activations cost: bytes, time to write a layer, and time to read one neuron or sequence of it.

The layer has the shape of SmolLM2-135M's and values like those of a GELU; speed depends on neither. Files lie
on a local disk below the folder for temporary files, and their pages are in memory when they are read.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.figures import Figure, figure
from neuroscribe.capture.whole.blocks import Form
from neuroscribe.capture.whole.reading import neuron_activations, sequence_activations
from neuroscribe.capture.whole.writing import WholeActivations
from resources.store.tensors import SafetensorFiles

SEQUENCES, LENGTH, NEURONS, BATCH, REPEATS = 1024, 64, 1536, 32, 5
READS = 10
"""Neurons, and sequences, read per run."""
FORMS: tuple[Form, ...] = ("bf16", "uint8")

Activations = Float[Tensor, "sequence token neuron"]

CAPTURE = "benchmark"


def whole_figures() -> Iterator[Figure]:
    """Yield the figures of whole activations; a subject in bfloat16 is assumed."""
    layer = _activations()
    copy = layer.clone()  # copies go where one has been: new memory costs up to ten times as much as copying
    with TemporaryDirectory() as root:
        store = SafetensorFiles(root)
        for form in FORMS:
            copied = _seconds(lambda: copy.copy_(layer))
            written = _seconds(lambda form=form: _write(store, layer, form))
            size = sum(path.stat().st_size for path in Path(root).glob(f"{form}/**/*.safetensors"))
            yield figure(f"whole.bytes_per_value.{form}", [size / layer.numel()], "bytes", n=SEQUENCES)
            ratios = [write / plain for write, plain in zip(written, copied, strict=True)]
            yield figure(_named("whole.write_ratio", form), ratios, "x a copy in memory", n=SEQUENCES)
            _check_equal(store, layer, form)
            yield from _reading_figures(store, form)


def _reading_figures(store: SafetensorFiles, form: Form) -> Iterator[Figure]:
    for what, read in (("neuron", neuron_activations), ("sequence", sequence_activations)):
        spent = _seconds(
            lambda read=read: [read(store, form, 0, 100 * n, fingerprint=CAPTURE) for n in range(READS)]
        )
        milliseconds = [1000 * seconds / READS for seconds in spent]
        yield figure(_named(f"whole.{what}_read_ms", form), milliseconds, "ms", n=SEQUENCES)


def _named(name: str, form: Form) -> str:
    """Return a figure's name; that of the usual form is the bare one."""
    return name if form == "bf16" else f"{name}.{form}"


def _activations() -> Activations:
    """Return what a layer of a subject in bfloat16 gives: mostly small negative values, some large ones."""
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(SEQUENCES, LENGTH, NEURONS, generator=generator).sub_(1)
    return torch.nn.functional.gelu(before).bfloat16()


def _write(store: SafetensorFiles, layer: Activations, form: Form) -> None:
    writer = WholeActivations(store, form, form, CAPTURE)
    for first in range(0, SEQUENCES, BATCH):
        writer.add(0, layer[first : first + BATCH], first)
    writer.finish(0, SEQUENCES)


def _seconds(work: Callable[[], object]) -> list[float]:
    """Return the wall time of several runs after one that counts for nothing."""
    work()
    seconds: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def _check_equal(store: SafetensorFiles, layer: Activations, form: Form) -> None:
    """Compare one neuron and one sequence with what was written."""
    allowed = 0 if form == "bf16" else (layer.max() - layer.min()).item() / 255
    read = (
        neuron_activations(store, form, 0, 7, fingerprint=CAPTURE),
        sequence_activations(store, form, 0, 700, fingerprint=CAPTURE),
    )
    for activations, truth in zip(read, (layer[:, :, 7], layer[700]), strict=True):
        torch.testing.assert_close(activations, truth.float(), rtol=0, atol=allowed)
