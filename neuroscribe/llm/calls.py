"""Asks once: an answer is stored under the hash of its question before anything else happens to it.

Explaining, simulating and judging list their questions; a run asks them here, and a plan counts them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from neuroscribe.errors import CapabilityError, StoreError
from neuroscribe.ports.models import NextTokenScorer
from neuroscribe.ports.replies import Message, NextToken, Usage
from neuroscribe.ports.stores import CallStore

Item = TypeVar("Item")
Answer = TypeVar("Answer")
ABOUT, PROMPT = "about", "prompt"
"""Names under which it is stored what a call was made for and what was sent: no part of the answer."""
Request = tuple[str, int]
"""A prompt as running text, and the most tokens that its answer may take."""


@runtime_checkable
class Question(Protocol):
    """What is asked about one thing, whoever is asked."""

    def key(self, identity: str) -> str:
        """Return the key under which the answer of a model, simulator or judge of this identity is stored."""
        ...

    @property
    def n_calls(self) -> int:
        """Calls that it takes."""
        ...

    def requests(self) -> Sequence[Request]:
        """Return what each of its calls sends."""
        ...


@dataclass(frozen=True)
class Form(Generic[Answer]):
    """How answers of one kind are stored."""

    plain: Callable[[Answer], dict[str, Any]]
    read: Callable[[dict[str, Any]], Answer]
    """Raises KeyError, TypeError, ValueError or AttributeError for anything else."""
    is_final: Callable[[Answer], bool] = lambda _: True
    """Tells whether to store it: a failure that may pass is asked again by the next run."""


def answer_form(kind: Callable[..., Answer]) -> Form[Answer]:
    """Return the form of a dataclass of one call's answer, which has a `status` and a `usage`."""
    known = signature(kind).parameters

    def read(stored: dict[str, Any]) -> Answer:
        if later := sorted(stored.keys() - known):
            raise ValueError(f"of {later[0]!r} this version knows nothing: a newer one wrote it, so use that")
        return kind(**{**stored, "usage": Usage(**stored["usage"])})

    def plain(answer: Any) -> dict[str, Any]:
        return {**vars(answer), "usage": vars(answer.usage)}

    return Form(plain, read, lambda answer: vars(answer)["status"] != "failed")


class Once:
    """Asks each question once, over all runs: what was answered before is read from `calls`.

    What the calls are made for, `about`, is stored with each answer for the ledger. Questions that are asked
    several times at once share one call.
    """

    def __init__(self, calls: CallStore, about: Mapping[str, Any] | None = None) -> None:
        self._calls, self._about = calls, dict(about or {})
        self._in_flight: dict[str, asyncio.Task[dict[str, Any]]] = {}

    def knows(self, key: str) -> bool:
        """Tell whether a question was answered before."""
        return self._calls.get(key) is not None

    async def answer(
        self,
        key: str,
        ask: Callable[[], Awaitable[Answer]],
        form: Form[Answer],
        *,
        prompt: Sequence[Message] = (),
    ) -> Answer:
        """Return the stored answer for `key`, or ask and store; `prompt` is stored beside it for people.

        Raises StoreError for a stored answer that cannot be read: somebody has changed it.
        """
        stored = self._calls.get(key)
        if stored is not None:
            return _read(key, stored, form)
        if key not in self._in_flight:
            self._in_flight[key] = asyncio.ensure_future(self._asked(key, ask, form, prompt))
            self._in_flight[key].add_done_callback(lambda _: self._in_flight.pop(key, None))
        return form.read(dict(await self._in_flight[key]))

    async def _asked(
        self, key: str, ask: Callable[[], Awaitable[Answer]], form: Form[Answer], prompt: Sequence[Message]
    ) -> dict[str, Any]:
        answer = await ask()
        plain = form.plain(answer)
        if form.is_final(answer):
            beside = {PROMPT: turns(prompt), ABOUT: self._about}
            await _stored(self._calls, key, plain | {name: said for name, said in beside.items() if said})
        return plain


def turns(messages: Sequence[Message]) -> list[list[str]]:
    """Return a prompt as plain data: the role and the content of each message."""
    return [[message.role, message.content] for message in messages]


async def worked_through(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Answer]], *, at_once: int
) -> list[Answer]:
    """Return the results of all items in their order, with at most `at_once` under way at a time.

    The first error ends the work: what is under way is cancelled, nothing further is begun. It is raised
    once all has come to rest, when the answers that had come are stored.
    """
    results: dict[int, Answer] = {}
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for place, item in waiting:
            results[place] = await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(min(at_once, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[place] for place in range(len(items))]


def _read(key: str, stored: Mapping[str, Any], form: Form[Answer]) -> Answer:
    try:
        return form.read({name: value for name, value in stored.items() if name not in (ABOUT, PROMPT)})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"the stored answer {key}: holds something else than was asked for ({type(error).__name__}:"
            f" {error}); remove its file among the store's calls, and the call is made again"
        ) from error


async def _stored(calls: CallStore, key: str, answer: Mapping[str, Any]) -> None:
    """Store an answer, even if the call is cancelled meanwhile: it has been paid for."""
    # In a thread: the disk takes longer than all else here, and the other calls go on meanwhile. No task of
    # its own, which would be cancelled with all others; the end of the event loop waits for its threads.
    writing = asyncio.get_running_loop().run_in_executor(None, calls.put, key, answer)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def first_token(scorer: NextTokenScorer, messages: Sequence[Message]) -> NextToken:
    """Return the likeliest first tokens of an answer; a model that cannot tell here has failed here alone.

    It was probed before the run: what it cannot do now has to do with this question.
    """
    try:
        return await scorer.next_token(messages)
    except CapabilityError as error:
        return NextToken({}, "failed", str(error))
