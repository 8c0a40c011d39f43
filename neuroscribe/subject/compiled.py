"""Compiles a subject's backbone into one graph that hands over the activations of every layer.

Hooks with Python code would break the graph in as many parts as there are layers. An operation of our own
does not: the compiler knows only that it changes a tensor, the count of its calls, and so neither drops nor
moves it. The hooks are registered before the compilation and stay, for the graph holds them; they do nothing
unless someone reads.
"""

from collections.abc import Callable
from itertools import count
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuroscribe.errors import SubjectError
from neuroscribe.subject.architectures import backbone
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind

Read = Callable[[int, Float[Tensor, "sequence position neuron"]], None]

_numbers = count()
_readers: dict[int, Read] = {}
"""By the graph's number: an operation of a graph takes no functions."""


def _hand_over(activations: Tensor, calls: Tensor, graph: int, layer: int) -> None:
    if graph in _readers:
        calls[layer] += 1
        _readers[graph](layer, activations)


def _known_shape(activations: Tensor, calls: Tensor, graph: int, layer: int) -> None:
    """Tell the compiler what comes back: nothing."""
    del activations, calls, graph, layer


_OPERATION: Any = cast(Any, torch.library).custom_op(
    "neuroscribe::hand_over",
    _hand_over,
    mutates_args=("calls",),
    schema="(Tensor activations, Tensor(a!) calls, int graph, int layer) -> ()",
)
_OPERATION.register_fake(_known_shape)


class CompiledBackbone:
    """A model's backbone as one graph, compiled at the first batch of each shape.

    Results differ from the model's own in the last bits. Compile a model once and keep this beside it.
    Raises SubjectError where there is no C++ compiler, which the graph needs on a CPU.
    """

    def __init__(self, model: torch.nn.Module, units: UnitKind = MLP_NEURONS) -> None:
        device = next(model.parameters()).device
        _check_compiler(device)
        self._number = next(_numbers)
        sites = units.sites(model)
        self.calls: Int[Tensor, " layer"] = torch.zeros(max(sites) + 1, dtype=torch.int64, device=device)
        """How often each layer has been read."""
        for layer, site in sites.items():
            site.tapped(self._handing_over(layer))
        self._graph: Any = cast(Any, torch).compile(backbone(model), dynamic=False, fullgraph=True)

    def run(self, tokens: Int[Tensor, "sequence position"], read: Read) -> None:
        """Run the backbone; every layer with neurons calls `read`, whose exceptions end the pass."""
        _readers[self._number] = read
        try:
            with torch.inference_mode():
                self._graph(input_ids=tokens, use_cache=False)
        finally:
            del _readers[self._number]

    def _handing_over(self, layer: int) -> Callable[[Tensor], None]:
        # A lambda, since tests wrap functions to check shapes, and the compiler cannot look into that.
        return lambda activations: _OPERATION(activations, self.calls, self._number, layer)


def _check_compiler(device: torch.device) -> None:
    if device.type != "cpu":
        return
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise SubjectError(
            "a compiled subject needs a C++ compiler (g++ or clang++) on a CPU, and none was found; install"
            " one or remove subject.compiled"
        ) from error


_SLOW = ("NewGELUActivation", "FastGELUActivation")
"""What transformers calls its modules of that form; to import it for its classes would take seconds."""


def fuse_gelu(model: torch.nn.Module) -> int:
    """Replace the slow form of tanh-GELU in a model, in place; return how many modules were replaced."""
    slow = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child).__name__ in _SLOW
    ]
    for parent, name in slow:
        setattr(parent, name, nn.GELU(approximate="tanh"))
    return len(slow)
