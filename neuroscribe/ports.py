"""What the core asks of the outside world, as protocols; adapters live in `resources`, fakes in `testing`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from neuroscribe.replies import EchoedPrompt, Message, NextToken, Reply, Schema, Simulated


@runtime_checkable
class Progress(Protocol):
    """Shows how far long work has come, its rate and the remaining time, and tells when time has passed."""

    def task(self, label: str, *, total: int, unit: str) -> AbstractContextManager[Callable[..., None]]:
        """Open a task; the value yielded is `advance(n=1, note="")`, called as work is done."""
        ...

    def alarm(self, seconds: float) -> Callable[[], bool]:
        """Return a function that is true the first time it is called after every so many seconds."""
        ...


@dataclass(frozen=True)
class Document:
    """One text of a corpus."""

    source: str
    """Where it comes from, for people: a title, or a file and line."""
    text: str


@runtime_checkable
class CorpusSource(Protocol):
    """Supplies the documents of a study's corpus in a fixed order."""

    def documents(self) -> Iterable[Document]:
        """Yield every document; raises CorpusError for bytes that are not text."""
        ...

    @property
    def revision(self) -> str:
        """Identity of the text: a hash or a revision."""
        ...


@runtime_checkable
class LLM(Protocol):
    """A language model that answers prompts."""

    @property
    def identity(self) -> str:
        """Model name and revision; part of the key under which replies are stored."""
        ...

    @property
    def calls_at_once(self) -> int:
        """Calls that may be under way together; 1 for a model in this process."""
        ...

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

    async def check(self) -> None:
        """Raise LLMError, before anything is spent, if the model cannot be reached or refuses the key."""
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

        `enough`, if given, has a function for each prompt that tells of an answer so far that no more of it
        is wanted; it then ends there, truncated.
        """
        ...


@runtime_checkable
class PromptScorer(Protocol):
    """A completion server that can echo a prompt with the log-probabilities of its tokens."""

    @property
    def identity(self) -> str:
        """Model name and revision; part of the key under which replies are stored."""
        ...

    @property
    def calls_at_once(self) -> int:
        """Calls that may be under way together."""
        ...

    async def echoed(self, prompt: str) -> EchoedPrompt:
        """Score the tokens of `prompt`; raises CapabilityError if the server cannot."""
        ...

    async def probe(self) -> None:
        """Raise CapabilityError, before anything is spent, if prompts come back without their scores."""
        ...


@runtime_checkable
class NextTokenScorer(Protocol):
    """A language model that tells how likely it holds the first tokens of its answer."""

    @property
    def identity(self) -> str:
        """Model name and revision; part of the key under which answers are stored."""
        ...

    @property
    def calls_at_once(self) -> int:
        """Calls that may be under way together."""
        ...

    async def next_token(self, messages: Sequence[Message]) -> NextToken:
        """Return the likeliest tokens right after the prompt; a final assistant message is continued."""
        ...

    async def probe_next_token(self) -> None:
        """Raise CapabilityError, before anything is spent, if answers come without log-probabilities."""
        ...


@runtime_checkable
class Simulator(Protocol):
    """Predicts activations from an explanation alone."""

    @property
    def identity(self) -> str:
        """Everything that changes its answers: model, revision, prompt version."""
        ...

    @property
    def sequences_per_call(self) -> int:
        """Sequences that one call reads together; a call is what is stored, or repeated after a kill."""
        ...

    @property
    def calls_at_once(self) -> int:
        """Calls that may be under way together; 1 for a model in this process."""
        ...

    @property
    def keeps_calls(self) -> bool:
        """Whether it keeps each question's answer itself, so that a reading is no call but made of calls."""
        ...

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        """Return a reading of each sequence, whose tokens are given as bytes."""
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


@runtime_checkable
class CallStore(Protocol):
    """Keeps every answer by the content hash of its question, so that none is paid for twice."""

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None."""
        ...

    def put(self, key: str, answer: Mapping[str, object]) -> None:
        """Store an answer atomically; storing the same key again is harmless."""
        ...


@runtime_checkable
class KeptCalls(Protocol):
    """A store of answers that can be gone through."""

    def keys(self) -> Iterable[str]:
        """Return the keys of all answers, in order."""
        ...

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None."""
        ...


@runtime_checkable
class TensorStore(Protocol):
    """Keeps named tensors in safetensors files."""

    def exists(self, path: str) -> bool:
        """Tell whether a file is there, whole."""
        ...

    def write(self, path: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
        """Write a file atomically and return its size in bytes."""
        ...

    def read(self, path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the tensors and the metadata of a file."""
        ...

    def metadata(self, path: str) -> dict[str, str]:
        """Return the metadata of a file without reading its tensors."""
        ...

    def read_parts(
        self, paths: Sequence[str], parts: Mapping[str, tuple[slice, ...]]
    ) -> list[tuple[dict[str, Tensor], dict[str, str]]]:
        """Return, of each file, `tensor[slices]` for the tensors named in `parts`, and the metadata.

        Slices have no steps. Little more is read than the rows that the first slice takes.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none for a folder that is not there."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        ...
