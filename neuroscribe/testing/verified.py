"""Which architectures are read rightly, by trying: tiny random models of every kind, captured and compared.

`python -m neuroscribe.testing.verified` prints `docs/architectures.md`; a test compares page and finding.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture import CapturePlan, capture
from neuroscribe.errors import CaptureError, SubjectError
from neuroscribe.subject.architectures import (
    SURROUNDINGS,
    DownProjection,
    backbone,
    down_projections,
    mlp_module,
)
from neuroscribe.subject.architectures import model_type as known_type
from neuroscribe.subject.hooks import check_sites
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.testing.random_subjects import as_subject, random_subject
from neuroscribe.testing.stores import SilentProgress
from neuroscribe.testing.tiny_types import NOT_BUILT, REFUSED, VERIFIED

_TOKENS: Int[Tensor, "sequence token"] = torch.arange(3, 27).reshape(4, 6)


@dataclass(frozen=True)
class Verified:
    """What was found of one architecture."""

    model_type: str
    projection: DownProjection
    layers: tuple[int, ...]
    """Layers with a dense MLP."""
    blocks: int
    """Length of the list of blocks that holds them."""
    compared: bool
    """Whether `down(captured)` was compared with the output of an MLP module; else only the peaks were."""
    difference: float
    """Largest distance of a captured peak from the same in a plain forward pass."""
    largest: float
    """Largest size of a captured peak; 0 would make every comparison vain."""
    connections: bool
    """Whether the weights around its neurons are known."""
    product: bool
    """Whether the activations change their sign with one factor, found by turning it; must equal `gated`."""

    def row(self) -> str:
        """Return the table's line."""
        place = self.projection
        facts = (
            f"`{self.model_type}`",
            f"`{place.path.replace(f'.{place.layer}.', '.*.', 1)}`",
            f"{len(self.layers)} in {self.blocks}",
            "both" if place.gated else "positive",
            "down(captured) = MLP output" if self.compared else "peaks alone: the MLP is written inline",
            "yes" if self.connections else "no",
        )
        return f"| {' | '.join(facts)} |"


@cache
def verified(model_type: str) -> Verified:
    """Capture a tiny random model and compare; raises CaptureError or SubjectError where it is misread."""
    model = random_subject(model_type, **VERIFIED[model_type])
    projections = down_projections(model)
    plan = CapturePlan(4, (1,), (0,))
    states = capture(
        as_subject(model), _TOKENS, plan=plan, layers=list(projections), progress=SilentProgress()
    )
    plain = _peaks(model, projections)
    peaks = {layer: states[layer].top_value[0].sort(descending=True).values for layer in projections}
    first = next(iter(projections.values()))
    return Verified(
        model_type,
        first,
        tuple(projections),
        _blocks(model, first),
        mlp_module(model, first) is not None,
        difference=max((peaks[layer] - plain[layer]).abs().max().item() for layer in projections),
        largest=max(values.abs().max().item() for values in peaks.values()),
        connections=known_type(model) in SURROUNDINGS,
        product=_is_product(model, first),
    )


@cache
def refusal(model_type: str) -> str:
    """Return why a type is refused, by trying to read its neurons; raises LookupError if it is not."""
    try:
        with torch.device("meta"):
            down_projections(random_subject(model_type, **REFUSED[model_type]))
        model = random_subject(model_type, **REFUSED[model_type])
        check_sites(model, MLP_NEURONS.sites(model), _TOKENS)
    except (SubjectError, CaptureError) as error:
        return str(error)
    raise LookupError(f"{model_type} is not refused; move it to VERIFIED")


def page() -> str:
    """Return `docs/architectures.md`."""
    rows = [verified(model_type).row() for model_type in sorted(VERIFIED)]
    refused = [f"| `{model_type}` | {_reason(refusal(model_type))} |" for model_type in sorted(REFUSED)]
    unbuilt = [f"| `{model_type}` | {reason} |" for model_type, reason in sorted(NOT_BUILT.items())]
    head = _HEAD.format(count=len(rows), refused=len(refused))
    return "\n".join([head, *rows, _REFUSED_HEAD, *refused, _UNBUILT_HEAD, *unbuilt, ""])


def _reason(message: str) -> str:
    """Return a refusal's reason without the name of the type and the advice."""
    finding = message.partition(". Choose")[0]
    return finding.partition("studied: ")[2] or finding


def _blocks(model: Any, projection: DownProjection) -> int:
    """Return the length of the list of blocks that holds a projection."""
    parts = projection.path.split(".")
    first = next(at for at, part in enumerate(parts) if part.isdigit())
    return len(model.get_submodule(".".join(parts[:first])))


def _peaks(model: Any, projections: dict[int, DownProjection]) -> dict[int, Float[Tensor, "neuron sequence"]]:
    """Return each neuron's peaks in descending order, by hooks of our own and nothing else."""
    return {
        layer: read.reshape(len(_TOKENS), -1, read.shape[-1]).amax(1).T.sort(descending=True).values
        for layer, read in _inputs(model, projections).items()
    }


def _inputs(model: Any, projections: Mapping[int, DownProjection]) -> dict[int, Tensor]:
    """Return what each down-projection reads in a plain forward pass."""
    read: dict[int, Tensor] = {}

    def hook(layer: int) -> Any:
        def keep(_module: Any, inputs: Any) -> None:
            read[layer] = inputs[0].clone()

        return keep

    handles = [p.module.register_forward_pre_hook(hook(layer)) for layer, p in projections.items()]
    with torch.inference_mode():
        backbone(model)(input_ids=_TOKENS, use_cache=False)
    for handle in handles:
        handle.remove()
    return read


def _is_product(model: Any, projection: DownProjection) -> bool:
    """Tell whether turning the sign of a projection into the neurons turns that of every activation.

    Exact for a product with a factor that has no activation function, and false for any plain MLP.
    """
    parent = model.get_submodule(projection.path.rpartition(".")[0])
    factors: list[list[Any]] = [[]]
    joined: list[Any] = []
    for module in parent.modules():
        weight = getattr(module, "weight", None)
        if module is projection.module or weight is None or weight.ndim != 2:
            continue
        sizes = tuple(weight.shape)
        joined += [module] if 2 * projection.neurons in sizes else []
        factors += [[module]] if projection.neurons in sizes else []
    places = {projection.layer: projection}
    plain = _inputs(model, places)[projection.layer]
    halves = (slice(0, projection.neurons), slice(projection.neurons, None))
    turns = [(modules, slice(None)) for modules in factors] + [(joined, half) for half in halves]
    return any(torch.equal(_turned(model, places, *turn), -plain) for turn in turns)


def _turned(model: Any, places: Mapping[int, DownProjection], modules: list[Any], part: slice) -> Tensor:
    """Return what a down-projection reads with part of the outputs of some modules turned in sign."""

    def turn(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        turned = output.clone()
        turned[..., part] = -turned[..., part]
        return turned

    handles = [module.register_forward_hook(turn) for module in modules]
    (read,) = _inputs(model, places).values()
    for handle in handles:
        handle.remove()
    return read


_HEAD = """# Architectures that were tried

Generated by `python -m neuroscribe.testing.verified`; a test compares this page with what it finds. All
types of causal language models that the installed transformers knows stand below. A tiny random model of
each of {count} is captured, every neuron's peaks are compared with those of a plain forward pass, and the
down-projection of what was captured with the MLP's own output; the same check runs on every model before a
capture, and ends it where it fails. {refused} are refused with the reason: mixtures of experts without a
dense layer, state-space models, layers that are run more than once in a pass, and architectures that add
positions or streams.

*Layers*: those with a dense MLP, and the blocks of the tiny model; the others hold experts, no MLP, or wait
for an image. *Sides*: the signs of an activation that mean something, confirmed by turning one factor of
the product. *Connections*: whether the weights around its neurons are known, so that `connections` can be
made. Zamba's layers share one MLP, so that a neuron there is one of a pass at one depth.

| model type | down-projection | layers | sides | compared | connections |
|---|---|---|---|---|---|"""

_REFUSED_HEAD = """
## Refused

Types whose usual configuration holds no neurons that could be captured rightly. Some can be configured with
dense layers, which are then captured.

| model type | reason |
|---|---|"""

_UNBUILT_HEAD = """
## Not built

| model type | why there is no tiny model |
|---|---|"""

if __name__ == "__main__":
    sys.stdout.write(page())
