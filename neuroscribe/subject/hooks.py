"""Reads the input of every selected down-projection while the subject runs, and stops after the last one."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.errors import CaptureError
from neuroscribe.subject.architectures import DownProjection, backbone, mlp_module
from neuroscribe.subject.compiled import CompiledBackbone

Reduce = Callable[[int, Float[Tensor, "sequence position neuron"]], None]


class _LastLayerReached(Exception):  # noqa: N818 - control flow, not an error
    """Ends a forward pass whose remaining layers nobody reads."""


@contextmanager
def reading(projections: Mapping[int, DownProjection], reduce: Reduce, *, stop: bool) -> Generator[None]:
    """While open, call `reduce(layer, activations)` for each selected layer of each forward pass.

    With `stop`, the pass ends at the last selected layer's hook; run it through `forward`.
    """
    last = max(projections)

    def hook(layer: int) -> Callable[..., None]:
        def read(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            del module
            reduce(layer, inputs[0])
            if stop and layer == last:
                raise _LastLayerReached

        return read

    handles = [
        projection.module.register_forward_pre_hook(hook(layer)) for layer, projection in projections.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def forward(model: torch.nn.Module, tokens: Int[Tensor, "sequence position"]) -> None:
    """Run the backbone, without head or cache, for the sake of its hooks."""
    try:
        with torch.inference_mode():
            backbone(model)(input_ids=tokens, use_cache=False)
    except _LastLayerReached:
        pass


def compiled_forward(
    graph: CompiledBackbone,
    tokens: Int[Tensor, "sequence position"],
    projections: Mapping[int, DownProjection],
    reduce: Reduce,
) -> None:
    """Run a compiled backbone up to the last selected layer; call `reduce(layer, activations)` for each."""
    last = max(projections)

    def read(layer: int, activations: Float[Tensor, "sequence position neuron"]) -> None:
        if layer in projections:
            reduce(layer, activations)
        if layer == last:
            raise _LastLayerReached

    with suppress(_LastLayerReached):
        graph.run(tokens, read)


def check_projections(
    model: torch.nn.Module,
    projections: Mapping[int, DownProjection],
    tokens: Int[Tensor, "sequence position"],
) -> dict[int, Tensor]:
    """Check on one batch that each hook fires once and that `down(captured)` is the MLP's output.

    Returns what each hook read. Raises CaptureError naming the layer and what was found. Layers whose MLP is
    written inline (no module whose output could be compared) are checked for the call count alone.
    """
    captured: dict[int, list[Tensor]] = {layer: [] for layer in projections}
    outputs: dict[int, Tensor] = {}

    def output_of(layer: int) -> Callable[..., None]:
        def keep(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            # A copy, since some blocks (Falcon's) add to it in place.
            given = cast(tuple[Tensor, ...] | Tensor, output)
            outputs[layer] = (given[0] if isinstance(given, tuple) else given).clone()

        return keep

    modules = {layer: mlp_module(model, projection) for layer, projection in projections.items()}
    handles = [m.register_forward_hook(output_of(layer)) for layer, m in modules.items() if m is not None]
    try:
        with reading(projections, lambda layer, read: captured[layer].append(read.clone()), stop=False):
            forward(model, tokens)
    finally:
        for handle in handles:
            handle.remove()
    for layer, projection in projections.items():
        _check_layer(projection, captured[layer], outputs.get(layer), tokens.numel())
    return {layer: read[0] for layer, read in captured.items()}


def _check_layer(
    projection: DownProjection, captured: list[Tensor], output: Tensor | None, positions: int
) -> None:
    if len(captured) != 1:
        raise CaptureError(
            f"{projection.path} was called {len(captured)} times in one forward pass, expected once; its"
            " layer is shared, re-entrant or skipped, which is not supported"
        )
    if (found := captured[0].numel() // projection.neurons) != positions:
        raise CaptureError(
            f"{projection.path} reads {found} positions where {positions} tokens were given; the architecture"
            " adds positions or streams of its own, or joins tokens, which is not supported"
        )
    if output is None or not bool(torch.isfinite(output).all()):
        return  # NaN and inf are the pass's to find: it names neuron, sequence and position
    with torch.inference_mode():
        error = (projection.module(captured[0]).reshape(output.shape) - output).abs().max().item()
    scale = output.abs().max().item()
    if not error <= 1e-3 * scale:
        raise CaptureError(
            f"{projection.path}: down(captured) differs from the MLP's output by {error:.3g} (outputs reach"
            f" {scale:.3g}); the hook does not read this architecture's neurons, please report the model"
        )
