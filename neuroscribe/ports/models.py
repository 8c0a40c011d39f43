"""What the core asks of models, as protocols: language models, simulators and sentence encoders."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from neuroscribe.ports.replies import EchoedPrompt, Message, NextToken, Reply, Schema, Simulated
from neuroscribe.ports.samples import A_DIGIT, Sample


@runtime_checkable
class Answerer(Protocol):
    """Whoever answers calls: a model, or what is made of one."""

    @property
    def identity(self) -> str:
        """Everything that changes its answers: model, revision, prompt version; part of their keys."""
        ...

    @property
    def calls_at_once(self) -> int:
        """Calls that may be under way together; 1 for a model in this process."""
        ...


@runtime_checkable
class LLM(Answerer, Protocol):
    """A language model that answers prompts."""

    async def reply(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Schema | None = None,
    ) -> Reply:
        """Answer a prompt; a final assistant message is continued rather than answered.

        With a `schema` the answer is meant to be JSON that follows it; whether it does is the caller's to
        check, for not every server can be held to it.
        """
        ...

    async def check(self, samples: Sequence[Sample] = ()) -> None:
        """Raise LLMError, before anything is spent, if the model cannot be reached or refuses the key.

        So it does where it cannot be asked in the form of any of the `samples`.
        """
        ...


@runtime_checkable
class BatchingLLM(LLM, Protocol):
    """A language model that answers several prompts in less time together than one after the other."""

    @property
    def replies_at_once(self) -> int:
        """Prompts that one call of `replies` should hold."""
        ...

    async def replies(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Schema | None = None,
        enough: Sequence[Callable[[str], bool]] = (),
    ) -> list[Reply]:
        """Answer each prompt as `reply` does; what shares a batch changes numbers only by rounding.

        `enough`, if given, has a function for each prompt that tells whether an answer so far is all that
        is wanted; the answer then ends there, truncated.
        """
        ...


@runtime_checkable
class PromptScorer(Answerer, Protocol):
    """A completion server that can echo a prompt with the log-probabilities of its tokens."""

    async def echoed(self, prompt: str) -> EchoedPrompt:
        """Score the tokens of `prompt`; raises CapabilityError if the server cannot."""
        ...

    async def probe(self) -> None:
        """Raise CapabilityError, before anything is spent, if prompts come back without their scores."""
        ...


@runtime_checkable
class NextTokenScorer(Answerer, Protocol):
    """A language model that tells how likely it holds the first tokens of its answer."""

    async def next_token(self, messages: Sequence[Message]) -> NextToken:
        """Return the likeliest tokens right after the prompt; a final assistant message is continued."""
        ...

    async def probe_next_token(self, sample: Sample = A_DIGIT) -> None:
        """Raise CapabilityError, before anything is spent, if answers come without log-probabilities.

        They are asked for in the form of the sample.
        """
        ...


@runtime_checkable
class Simulator(Answerer, Protocol):
    """Predicts activations from an explanation alone."""

    @property
    def sequences_per_call(self) -> int:
        """Sequences that one call reads together; a call is what is stored, or repeated after a kill."""
        ...

    @property
    def keeps_calls(self) -> bool:
        """Whether it keeps each question's answer itself, so that a reading is no call but made of calls."""
        ...

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return a reading of each sequence, whose tokens are given as bytes."""
        ...


@runtime_checkable
class WholeCorpus(Protocol):
    """A simulator that costs nothing, on sequences that it knows beforehand."""

    def readings(self, *texts: str) -> Float[np.ndarray, "sequence token"]:
        """Return what an explanation lets one expect at each token, 0 to 10; NaN where it cannot be read.

        Of several texts, the parts of one explanation, the largest value counts.
        """
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """A sentence encoder that also gives a vector for every piece of a text."""

    @property
    def identity(self) -> str:
        """Model name and revision."""
        ...

    def sentence(self, text: str) -> Float[np.ndarray, " feature"]:
        """Return one unit-length vector for a whole text."""
        ...

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], Float[np.ndarray, "piece feature"]]:
        """Return the character span and the unit-length vector in context of each piece of a text."""
        ...
