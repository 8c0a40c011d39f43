"""The weights around a subject's neurons: what they read, what they write, and the gains in between.

Read from the model as it is, never changed; where they lie is known to `architectures`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuroscribe.errors import SubjectError
from neuroscribe.subject.architectures import DownProjection, down_projections, is_conv1d, surroundings


@dataclass(frozen=True)
class InputWeights:
    """What the neurons of one layer read from the normed residual stream."""

    up: Float[Tensor, "neuron width"]
    gate: Float[Tensor, "neuron width"] | None

    @property
    def reading(self) -> Float[Tensor, "neuron width"]:
        """The weights under the activation function: the gate's, or those of a plain MLP."""
        return self.up if self.gate is None else self.gate


class SubjectWeights:
    """The weights of one subject, by layer.

    Raises SubjectError for a family whose weights are not known, a model without what its family has, and
    quantised weights. Matrices keep the model's dtype and device; gains are float32.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._known = surroundings(model)
        self._projections = down_projections(model)
        self._width = next(iter(self._projections.values())).width
        self.layers = tuple(self._projections)
        """Layers with neurons, ascending."""

    def neurons(self, layer: int) -> int:
        """Return the number of neurons of a layer."""
        return self._projection(layer).neurons

    def input(self, layer: int) -> InputWeights:
        """Return the weights into the neurons of a layer."""
        up = _matrix(self._in_block(layer, self._known.up))
        if self._known.gate is None:
            return InputWeights(up, None)
        if self._known.gate == self._known.up:
            neurons = self.neurons(layer)
            return InputWeights(up[neurons:], up[:neurons])
        return InputWeights(up, _matrix(self._in_block(layer, self._known.gate)))

    def output(self, layer: int) -> Float[Tensor, "neuron width"]:
        """Return the weights from the neurons of a layer."""
        return _matrix(self._projection(layer).module).T

    def reads(self, layer: int) -> Float[Tensor, "neuron width"]:
        """Return the directions of the residual stream that a layer's neurons read."""
        return self.input(layer).reading.float() * self.mlp_norm_gain(layer)

    def writes(self, layer: int) -> Float[Tensor, "neuron width"]:
        """Return what a layer's neurons add to the residual stream per unit of activation."""
        return self.output(layer).float() * self.write_gain(layer)

    def mlp_norm_gain(self, layer: int) -> Float[Tensor, " width"]:
        """Return the gain of the norm before a layer's MLP (ones where there is none)."""
        return self._block_gain(layer, self._known.mlp_norm)

    def write_gain(self, layer: int) -> Float[Tensor, " width"]:
        """Return the gain between a layer's MLP and the residual stream: that of a norm, times a factor.

        Ones where there is neither.
        """
        factor = self._factor(self._block(layer), self._known.write_scale)
        return self._block_gain(layer, self._known.write_norm) * factor

    def final_norm_gain(self) -> Float[Tensor, " width"]:
        """Return the gain of the norm before the unembedding."""
        return self._gain(f"{self._stack()}.{self._known.final_norm}".lstrip("."))

    def embedding(self) -> Float[Tensor, "token width"]:
        """Return the token embedding; times `embedding_scale` it is what a token adds to the stream."""
        return self._of_the_stream("token embedding", _weight(self._token_table()))

    def embedding_scale(self) -> float:
        """Return the factor by which the model multiplies its token embedding (as Gemma does); else 1."""
        table = self._token_table()
        scale = getattr(table, "scalar_embed_scale", getattr(table, "embed_scale", 1.0))
        return float(scale) * self._factor(self._stack(), self._known.embedding_scale)

    def unembedding(self) -> Float[Tensor, "token width"]:
        """Return the LM head's weight; raises SubjectError for a model without a head."""
        head = getattr(self._model, "get_output_embeddings", lambda: None)()
        if not isinstance(head, nn.Module):
            raise SubjectError(f"{type(self._model).__name__} has no LM head; load it as a causal LM")
        return self._of_the_stream("LM head", _weight(head))

    def _of_the_stream(self, part: str, table: Tensor) -> Float[Tensor, "token width"]:
        """Return a table of tokens; raises SubjectError where a projection lies between it and the stream."""
        if table.shape[1] != self._width:
            raise SubjectError(
                f"the {part} of {type(self._model).__name__} is {table.shape[1]} wide, its residual stream"
                f" {self._width}; connections of this variant are unknown: leave them out"
            )
        return table

    def _projection(self, layer: int) -> DownProjection:
        if layer not in self._projections:
            raise SubjectError(f"layer {layer} has no dense MLP; layers with one: {list(self.layers)}")
        return self._projections[layer]

    def _block(self, layer: int) -> str:
        """Return the path of a layer's block."""
        return f"{self._blocks(layer)}.{layer}"

    def _blocks(self, layer: int) -> str:
        """Return the path of the list of a layer's block."""
        return self._projection(layer).path.rsplit(f".{layer}.", 1)[0]

    def _stack(self) -> str:
        """Return the path of the module that holds the list of blocks."""
        return self._blocks(self.layers[0]).rpartition(".")[0]

    def _factor(self, path: str, attribute: str | None) -> float:
        """Return a number that a module multiplies by; 1 where the family has none."""
        return 1.0 if attribute is None else float(getattr(self._module(path), attribute))

    def _in_block(self, layer: int, path: str) -> nn.Module:
        return self._module(f"{self._block(layer)}.{path}")

    def _block_gain(self, layer: int, norm: str | None) -> Float[Tensor, " width"]:
        if norm is None:
            return torch.ones(self._width, device=_weight(self._projection(layer).module).device)
        return self._gain(f"{self._block(layer)}.{norm}")

    def _gain(self, path: str) -> Float[Tensor, " width"]:
        norm = self._module(path)
        if next(norm.parameters(), None) is None:  # OLMo's norms have no weight
            return torch.ones(self._width, device=self.embedding().device)
        return _weight(norm).float() + self._known.gain_offset

    def _token_table(self) -> nn.Module:
        table = getattr(self._model, "get_input_embeddings", lambda: None)()
        if not isinstance(table, nn.Module):
            raise SubjectError(f"{type(self._model).__name__} has no token embedding; load it as a causal LM")
        return table

    def _module(self, path: str) -> nn.Module:
        try:
            module = self._model.get_submodule(path)
        except AttributeError:
            module = None
        if not isinstance(module, nn.Module):
            raise SubjectError(
                f"{type(self._model).__name__} has no {path}, where its family keeps a norm or projection;"
                " connections of this variant are unknown: leave them out"
            )
        return module


def _weight(module: nn.Module) -> Tensor:
    """Return a module's weight, detached; raises SubjectError if there is none or it is packed."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise SubjectError(
            f"{type(module).__name__} holds no plain weight (quantised, or a norm without gain); load the"
            " subject in bfloat16 or float32, or leave connections out"
        )
    return weight.detach()


def _matrix(module: nn.Module) -> Float[Tensor, "output input"]:
    """Return a projection's weight as [output, input], whatever its class."""
    weight = _weight(module)
    return weight.T if is_conv1d(module) else weight
