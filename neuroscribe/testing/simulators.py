"""Simulators whose scores are known beforehand: the truth, its opposite, nothing, the truth with noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Simulated

Truth = Callable[[str, Sequence[bytes]], Sequence[float]]
"""The activation, 0 to 10, of a neuron so explained at every token."""


@dataclass(frozen=True)
class KnownSimulator:
    """Fulfils the `Simulator` port by a rule; `identity` names the rule."""

    keeps_calls = False

    identity: str
    values: Truth
    sequences_per_call: int = 4
    calls_at_once: int = 4

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the rule's values at every token of every sequence."""
        return [
            Simulated(tuple(float(value) for value in self.values(explanation, tokens)), valid_fraction=1.0)
            for tokens in sequences
        ]


def oracle(truth: Truth) -> KnownSimulator:
    """Return a simulator that is right: correlation 1."""
    return KnownSimulator("oracle", truth)


def anti_oracle(truth: Truth) -> KnownSimulator:
    """Return a simulator that says the opposite: correlation -1."""
    return KnownSimulator("anti-oracle", lambda text, tokens: [10 - value for value in truth(text, tokens)])


def blind() -> KnownSimulator:
    """Return a simulator that says 0 everywhere: no correlation is defined."""
    return KnownSimulator("blind", lambda _, tokens: [0.0] * len(tokens))


def noisy(truth: Truth, *, share: float, seed: int) -> KnownSimulator:
    """Return a simulator that says, at a share of all tokens, another value drawn evenly from 0 to 10.

    What it says of a sequence follows from the seed, the explanation and the tokens alone.
    """

    def values(text: str, tokens: Sequence[bytes]) -> list[float]:
        drawn = np.random.default_rng(int(fingerprint("noise", seed, text, list(tokens))[:15], 16))
        wrong, other = drawn.random(len(tokens)) < share, drawn.uniform(0, 10, len(tokens))
        return np.where(wrong, other, np.array(truth(text, tokens))).tolist()

    return KnownSimulator(f"noisy {share} {seed}", values)
