"""Reads the activations of every selected layer while the subject runs, and stops after the last one."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.errors import CaptureError
from neuroscribe.subject.architectures import backbone
from neuroscribe.subject.compiled import CompiledBackbone
from neuroscribe.subject.units.unit import Site

Reduce = Callable[[int, Float[Tensor, "sequence position neuron"]], None]


class _LastLayerReached(Exception):  # noqa: N818 - control flow, not an error
    """Ends a forward pass whose remaining layers nobody reads."""


@contextmanager
def reading(sites: Mapping[int, Site], reduce: Reduce, *, stop: bool) -> Generator[None]:
    """While open, call `reduce(layer, activations)` for each selected layer of each forward pass.

    With `stop`, the pass ends at the last selected layer's hook; run it through `forward`.
    """
    last = max(sites)

    def take(layer: int) -> Callable[[Tensor], None]:
        def read(activations: Tensor) -> None:
            reduce(layer, activations)
            if stop and layer == last:
                raise _LastLayerReached

        return read

    handles = [site.tapped(take(layer)) for layer, site in sites.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def forward(model: torch.nn.Module, tokens: Int[Tensor, "sequence position"]) -> None:
    """Run the backbone, without head or cache, for the sake of its hooks."""
    with suppress(_LastLayerReached), torch.inference_mode():
        backbone(model)(input_ids=tokens, use_cache=False)


def compiled_forward(
    graph: CompiledBackbone,
    tokens: Int[Tensor, "sequence position"],
    sites: Mapping[int, Site],
    reduce: Reduce,
) -> None:
    """Run a compiled backbone up to the last selected layer; call `reduce(layer, activations)` for each."""
    last = max(sites)

    def read(layer: int, activations: Float[Tensor, "sequence position neuron"]) -> None:
        if layer in sites:
            reduce(layer, activations)
        if layer == last:
            raise _LastLayerReached

    with suppress(_LastLayerReached):
        graph.run(tokens, read)


def check_sites(
    model: torch.nn.Module, sites: Mapping[int, Site], tokens: Int[Tensor, "sequence position"]
) -> dict[int, Tensor]:
    """Check on one batch that each site is read once, and rightly where something can confirm that.

    Returns what was read. Raises CaptureError naming the layer and what was found. For MLP neurons
    `down(captured)` must be the MLP's output; where an MLP is written inline (no module whose output could be
    compared), as for sites that nothing confirms, calls and positions alone are counted.
    """
    captured: dict[int, list[Tensor]] = {layer: [] for layer in sites}
    outputs: dict[int, Tensor] = {}

    def output_of(layer: int) -> Callable[..., None]:
        def keep(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            # A copy, since some blocks (Falcon's) add to it in place.
            given = cast(tuple[Tensor, ...] | Tensor, output)
            outputs[layer] = (given[0] if isinstance(given, tuple) else given).clone()

        return keep

    handles = [
        site.confirmed_by.register_forward_hook(output_of(layer))
        for layer, site in sites.items()
        if site.confirmed_by is not None
    ]
    try:
        with reading(sites, lambda layer, read: captured[layer].append(read.clone()), stop=False):
            forward(model, tokens)
    finally:
        for handle in handles:
            handle.remove()
    for layer, site in sites.items():
        _check_layer(site, captured[layer], outputs.get(layer), tokens.numel())
    return {layer: read[0] for layer, read in captured.items()}


def _check_layer(site: Site, captured: list[Tensor], output: Tensor | None, positions: int) -> None:
    if len(captured) != 1:
        raise CaptureError(
            f"{site.path} was called {len(captured)} times in one forward pass, expected once; its"
            " layer is shared, re-entrant or skipped, which is not supported"
        )
    if (read := captured[0].numel() // site.neurons) != positions:
        raise CaptureError(
            f"{site.path} reads {read} positions where {positions} tokens were given; the architecture"
            " adds positions or streams of its own, or joins tokens, which is not supported"
        )
    if output is None or not bool(torch.isfinite(output).all()):
        return  # NaN and inf are the pass's to find: it names neuron, sequence and position
    with torch.inference_mode():
        error = (site.module(captured[0]).reshape(output.shape) - output).abs().max().item()
    scale = output.abs().max().item()
    if not error <= 1e-3 * scale:
        raise CaptureError(
            f"{site.path}: what it makes of the captured activations differs from the model's own by"
            f" {error:.3g} (outputs reach {scale:.3g}); the hook does not read this architecture's neurons,"
            " please report the model"
        )
