"""A second kind of unit, for tests: the dimensions of the residual stream behind each block of a GPT-2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuroscribe.subject.units.kinds import UNIT_KINDS
from neuroscribe.subject.units.unit import Site, UnitKind


@dataclass(frozen=True)
class ResidualDimensions:
    """Fulfils `UnitKind`."""

    sentence: str = "Index of one dimension of the residual stream behind a block, from 0."
    carrier: str = "block"

    def sites(self, model: Any) -> dict[int, Site]:
        """Return the outputs of the blocks."""
        return {
            layer: Site(
                layer, f"transformer.h.{layer}", block, model.config.hidden_size, signed=True, end="output"
            )
            for layer, block in enumerate(model.transformer.h)
        }

    def weights(self, model: Any) -> None:
        """Return none: a dimension is no module's input or output channel."""


RESIDUAL = "residual_dimensions"
KINDS: Mapping[str, UnitKind] = {**UNIT_KINDS, RESIDUAL: ResidualDimensions()}
