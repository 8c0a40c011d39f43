"""The subject: a model under study with the facts of its tokenizer, however it was loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from neuroscribe.errors import StudyError, SubjectError
from neuroscribe.subject.compiled import CompiledBackbone
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import Site, UnitKind
from neuroscribe.text.token_bytes import TokenizerFacts


@dataclass(frozen=True)
class Subject:
    """A loaded model, ready to be read."""

    model: Any
    """A Hugging Face causal LM in evaluation mode, on `device`."""
    tokenizer: TokenizerFacts
    name: str
    revision: str
    """Commit or SHA-256 of the weights."""
    dtype: torch.dtype
    device: torch.device
    prefix_ids: tuple[int, ...] = ()
    """Tokens fed before every sequence and never recorded."""
    batch_tokens: int = 2048
    """Tokens per forward pass; changes speed alone (but for rounding, which depends on the shape)."""
    checkpoint_seconds: float = 60.0
    """Work that a kill may cost, beside the time to write all states."""
    compiled: CompiledBackbone | None = None
    """The model's backbone as one graph, which runs all full batches; None: the model itself runs."""
    units: UnitKind = MLP_NEURONS
    """What a neuron is; `compiled` was made for the same kind."""

    def batch(self, length: int) -> int:
        """Return how many sequences of so many tokens go into one forward pass."""
        return max(1, self.batch_tokens // (len(self.prefix_ids) + length))

    def sites(self, layers: Sequence[int] | None = None) -> dict[int, Site]:
        """Return where the neurons of the layers (all, unless given) are read, ascending.

        Raises StudyError for a layer without neurons, and SubjectError for a model without any.
        """
        sites = self.units.sites(self.model)
        empty = [layer for layer, site in sites.items() if site.neurons < 1]
        if empty or not sites:
            where = f"layer {empty[0]}" if empty else "any layer"
            raise SubjectError(
                f"{self.name}: the units that the study names find no {self.units.carrier} with neurons in"
                f" {where}; correct subject.units, or leave layers without any out of their sites"
            )
        if missing := [layer for layer in layers or () if layer not in sites]:
            raise StudyError(
                f"layer {missing[0]} has no {self.units.carrier} in this model; layers with one:"
                f" {min(sites)} to {max(sites)}"
            )
        return sites if layers is None else {layer: sites[layer] for layer in sorted(layers)}
