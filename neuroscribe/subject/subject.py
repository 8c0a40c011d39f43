"""The subject: a model under study with the facts of its tokenizer, however it was loaded."""

from dataclasses import dataclass
from typing import Any

import torch

from neuroscribe.subject.compiled import CompiledBackbone
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

    def batch(self, length: int) -> int:
        """Return how many sequences of so many tokens go into one forward pass."""
        return max(1, self.batch_tokens // (len(self.prefix_ids) + length))
