"""The paper's all-at-once simulator over a server that echoes a prompt's log-probabilities."""

import asyncio
from collections.abc import Sequence

import numpy as np

from neuroscribe.errors import CapabilityError
from neuroscribe.ports import EchoedPrompt, PromptScorer, Simulated
from neuroscribe.simulate.distribution import digit_probabilities, expected_activations
from neuroscribe.simulate.prompts import hidden_prompt, prompt_identity


class EchoedSimulator:
    """Fulfils the `Simulator` port: one request a sequence, digits read at the hidden places."""

    def __init__(self, scorer: PromptScorer) -> None:
        self._scorer = scorer

    @property
    def identity(self) -> str:
        """Model and prompt."""
        return f"{self._scorer.identity}; all at once, {prompt_identity('hidden')}"

    @property
    def sequences_per_call(self) -> int:
        """One sequence a request."""
        return 1

    @property
    def calls_at_once(self) -> int:
        """As many as the server's client allows."""
        return self._scorer.calls_at_once

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return the expected activation at every token of every sequence."""
        return list(await asyncio.gather(*(self._reading(explanation, tokens) for tokens in sequences)))

    async def _reading(self, explanation: str, tokens: Sequence[bytes]) -> Simulated:
        prompt, places = hidden_prompt(explanation, tokens)
        echoed = await self._scorer.echoed(prompt)
        values, mass = expected_activations(_probabilities(echoed, places, self._scorer.identity))
        return Simulated(tuple(values.tolist()), mass, usage=echoed.usage)


def _probabilities(echoed: EchoedPrompt, places: Sequence[int], server: str) -> np.ndarray:
    """Return the digit probabilities at each hidden place, found by its offset in the prompt.

    Raises CapabilityError where the server's tokenizer joins a hidden value to its neighbours, for then no
    digit can stand in its place.
    """
    token_at = {offset: index for index, offset in enumerate(echoed.offsets)}
    if missing := [place for place in places if place not in token_at]:
        raise CapabilityError(
            f"{server}: {len(missing)} of {len(places)} hidden values do not begin a token of the server's"
            ' tokenizer; use provider = "local" in [llm], or only the embedding simulator'
        )
    return np.array([digit_probabilities(echoed.top_logprobs[token_at[place]]) for place in places])
