"""MLP neurons: the input channels of the blocks' dense down-projections."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuroscribe.glossary import WORDS
from neuroscribe.subject.units.unit import Site

if TYPE_CHECKING:
    from torch import nn

    from neuroscribe.subject.weights import SubjectWeights


@dataclass(frozen=True)
class MlpNeurons:
    """Fulfils `UnitKind`."""

    sentence: str = WORDS["neuron"]
    carrier: str = "dense MLP"

    def sites(self, model: "nn.Module") -> dict[int, Site]:
        """Return the inputs of the down-projections; a gate gives both signs of its product a meaning."""
        from neuroscribe.subject.architectures import down_projections, mlp_module

        return {
            layer: Site(
                layer,
                projection.path,
                projection.module,
                projection.neurons,
                signed=projection.gated,
                confirmed_by=mlp_module(model, projection),
            )
            for layer, projection in down_projections(model).items()
        }

    def weights(self, model: "nn.Module") -> "SubjectWeights":
        """Return the weights of the MLPs."""
        from neuroscribe.subject.weights import SubjectWeights

        return SubjectWeights(model)


MLP_NEURONS = MlpNeurons()
