"""What a kind of unit says of a model: all that capture, ablation and connections ask about its neurons."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:  # the kinds of units are known by name before a model is loaded, which brings torch
    from jaxtyping import Float
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    Activations = Float[Tensor, "*position neuron"]
    """What all neurons of a layer do in one forward pass."""
    _Held = Tensor | tuple[Any, ...]
    """Arguments of a module, or its output."""


@dataclass(frozen=True)
class Site:
    """Where the neurons of one layer are read in the forward pass, and where others are put in their place.

    Layers are run in ascending order, each site once in a pass.
    """

    layer: int
    path: str
    """The module's name in the model."""
    module: "nn.Module"
    neurons: int
    signed: bool
    """Whether both signs of an activation mean something, so that both are to be explained."""
    end: Literal["input", "output"] = "input"
    """What holds the activations: the module's first positional argument, or what it returns (of several
    values the first)."""
    read: "Callable[[Tensor], Tensor]" = lambda value: value
    """Makes activations of it; a lambda or another package's function, so that a graph can be compiled."""
    write: "Callable[[Tensor, Tensor], Tensor]" = lambda _, activations: activations
    """Makes, of it and of changed activations, what is to stand in its place."""
    confirmed_by: "nn.Module | None" = None
    """Gives in a pass what `module` gives, if it is read rightly: checked before a capture unless None."""

    def tapped(self, take: "Callable[[Activations], None]") -> "RemovableHandle":
        """Hand the activations of every pass to `take`; return the handle that ends it."""
        # Lambdas, since tests wrap functions to check shapes, and the compiler cannot look into that.
        read = self.read
        return self._hooked(lambda held: take(read(held[0] if isinstance(held, tuple) else held)))

    def replaced(self, change: "Callable[[Activations], Activations]") -> "RemovableHandle":
        """Put what `change` makes of the activations in their place; return the handle that ends it."""

        def changed(held: "_Held") -> "_Held":
            value, *rest = held if isinstance(held, tuple) else (held,)
            new = self.write(value, change(self.read(value)))
            return (new, *rest) if isinstance(held, tuple) else new

        return self._hooked(changed)

    def _hooked(self, use: "Callable[[_Held], _Held | None]") -> "RemovableHandle":
        """Give the module's arguments or output to `use`, and put in their place what it returns, if any."""
        of_any_type: Callable[[Any], Any] = use  # torch declares a hook's values as any and as a dict
        if self.end == "input":
            return self.module.register_forward_pre_hook(lambda _, inputs: of_any_type(inputs))
        return self.module.register_forward_hook(lambda _, __, output: of_any_type(output))


@runtime_checkable
class UnitWeights(Protocol):
    """What neurons of a kind read and write by weight, and the tables of tokens at the stream's ends."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers with neurons, ascending."""
        ...

    def neurons(self, layer: int) -> int:
        """Return the number of neurons of a layer."""
        ...

    def reads(self, layer: int) -> "Float[Tensor, 'neuron width']":
        """Return the directions of the residual stream that a layer's neurons read."""
        ...

    def writes(self, layer: int) -> "Float[Tensor, 'neuron width']":
        """Return what a layer's neurons add to the residual stream per unit of activation."""
        ...

    def final_norm_gain(self) -> "Float[Tensor, ' width']":
        """Return the gain of the norm before the unembedding."""
        ...

    def embedding(self) -> "Float[Tensor, 'token width']":
        """Return the token embedding."""
        ...

    def embedding_scale(self) -> float:
        """Return the factor by which the model multiplies its token embedding."""
        ...

    def unembedding(self) -> "Float[Tensor, 'token width']":
        """Return the LM head's weight."""
        ...


@runtime_checkable
class UnitKind(Protocol):
    """What a "neuron" is: one index in the column `neuron`, within its layer."""

    @property
    def sentence(self) -> str:
        """What the column `neuron` counts, as the dataset's card says it."""
        ...

    @property
    def carrier(self) -> str:
        """What a layer must have to have such neurons, in the singular and without an article."""
        ...

    def sites(self, model: "nn.Module") -> dict[int, Site]:
        """Return where the neurons are, by layer, ascending; layers without any are absent.

        Raises SubjectError for a model that has none of this kind.
        """
        ...

    def weights(self, model: "nn.Module") -> UnitWeights | None:
        """Return the weights around the neurons; None where such units have none: they get no connections.

        Raises SubjectError for a model whose weights are not known.
        """
        ...
