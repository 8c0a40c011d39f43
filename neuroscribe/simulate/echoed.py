"""The paper's all-at-once simulator over a server that echoes a prompt's log-probabilities."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from neuroscribe.errors import CapabilityError
from neuroscribe.ports import PromptScorer
from neuroscribe.replies import EchoedPrompt, ReadingStatus, Simulated
from neuroscribe.simulate.distribution import digit_probabilities, expected_reading, without_values
from neuroscribe.simulate.prompts import DIGITS, hidden_prompt, prompt_identity


class EchoedSimulator:
    """Fulfils the `Simulator` port: one request a sequence, digits read at the hidden places."""

    keeps_calls = False

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
        try:
            echoed = await self._scorer.echoed(prompt)
        except CapabilityError as error:
            # The server was probed before the run: what it cannot do now has to do with this text.
            return replace(without_values(len(tokens), "failed"), raw=str(error))
        if echoed.status != "ok":
            return replace(without_values(len(tokens), echoed.status), raw=echoed.raw, usage=echoed.usage)
        return replace(_read(echoed, places, self._scorer.identity), usage=echoed.usage)


def _read(echoed: EchoedPrompt, places: Sequence[int], server: str) -> Simulated:
    """Return the reading at the hidden places, each found by its offset in the prompt.

    A place that begins no token has no value, for the server's tokenizer joins it to its neighbours; nor has
    a place for which no log-probabilities came. Raises CapabilityError where the tokenizer joins all of them.
    """
    token_at = {offset: index for index, offset in enumerate(echoed.offsets)}
    tops = [echoed.top_logprobs[token_at[place]] if place in token_at else None for place in places]
    if places and not any(top is not None for top in tops):
        raise CapabilityError(
            f"{server}: none of {len(places)} hidden values begins a token of the server's tokenizer; use"
            ' provider = "local" in [llm] or [simulator_llm], or the simulator matching_words'
        )
    probabilities = np.array([digit_probabilities(top or {}) for top in tops]).reshape(
        len(places), len(DIGITS)
    )
    return expected_reading(probabilities, [_status(top) for top in tops])


def _status(top: Mapping[str, float] | None) -> ReadingStatus:
    return "unparsable" if top is None else "ok" if top else "failed"
