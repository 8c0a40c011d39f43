"""What holds calls to a server back: its being down, and its limits per minute."""

import asyncio
import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from neuroscribe.errors import LLMError
from resources.pace import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuroscribe.ports.stores import Progress

FAILURES = 5
"""Failures in a row, across all calls, after which a server counts as down."""
_FIRST_PROBE_S, _LONGEST_S = 1.0, 60.0
_LOOK_S = 0.5
"""How often a waiting call looks whether the server is back."""


class Circuit:
    """The state of one server for all calls to it; times are those of the running event loop.

    After five failures in a row calls wait, and one at a time tries the server, at growing intervals. A
    server that is down for longer than `patience_s` ends the run with an LLMError.
    """

    def __init__(self, url: str, *, patience_s: float, generator: random.Random) -> None:
        self._url, self._patience_s, self._generator = url, patience_s, generator
        self._failures = 0
        self._down_since: float | None = None
        self._probe_at = self._interval = 0.0
        self._probing = False
        self._reason = ""
        self._shown = ExitStack()
        self._advance: Callable[..., None] | None = None
        self._advanced_to = 0

    @property
    def is_open(self) -> bool:
        """Whether the server counts as down."""
        return self._down_since is not None

    async def turn(self, progress: "Progress | None") -> bool:
        """Return when a call may be tried, and whether it is the one that tries a server that is down.

        Raises LLMError when the server stays down for too long.
        """
        while self._down_since is not None:
            now = asyncio.get_running_loop().time()
            self._show(now, progress)
            if now - self._down_since > self._patience_s:
                self._close()
                raise LLMError(
                    f"the LLM server at {self._url} has been down for {duration(self._patience_s)}"
                    f" ({self._reason}); all answers so far are kept: run the same command again when it is"
                    " well"
                )
            if not self._probing and now >= self._probe_at:
                self._probing = True
                return True
            due = _LOOK_S if self._probing else self._probe_at - now
            await asyncio.sleep(min(_LOOK_S, due))
        return False

    def failed(self, reason: str, *, probe: bool) -> None:
        """Take note that a call found the server down."""
        now = asyncio.get_running_loop().time()
        self._failures += 1
        self._reason = reason
        if self._down_since is None and self._failures >= FAILURES:
            self._down_since, self._interval = now, _FIRST_PROBE_S
            self._probe_at = now + self._interval
        elif probe:
            self._probing = False
            self._interval = min(2 * self._interval, _LONGEST_S)
            self._probe_at = now + self._interval * self._generator.uniform(0.75, 1.0)

    def passed(self) -> None:
        """Take note that the server answered, be it with a refusal."""
        self._failures = 0
        if self._down_since is not None:
            self._close()

    def left(self, *, probe: bool) -> None:
        """Take note that a call ended without showing whether the server is well."""
        self._probing = self._probing and not probe

    def _close(self) -> None:
        self._down_since, self._probing, self._failures = None, False, 0
        self._advance = None
        self._shown.close()

    def _show(self, now: float, progress: "Progress | None") -> None:
        assert self._down_since is not None
        if progress is None:
            return
        if self._advance is None:
            label = f"wait for the LLM server at {self._url}"
            task = progress.task(label, total=round(self._patience_s), unit="seconds")
            self._advance, self._advanced_to = self._shown.enter_context(task), 0
        gone = round(now - self._down_since)
        self._advance(gone - self._advanced_to, note=f"down: {self._reason}")
        self._advanced_to = gone


_SHARE = 0.99
"""Of a limit that is used: servers count by arrival, which the network shifts."""
_TOKENS_OF_A_CHAT = 32
"""Tokens of a request that are not its text: roles, templates."""
_FIRST_GUESS = 0.5
"""Tokens per character before any answer has told; English prose has a quarter."""
_SHORTEST_PROMPT = 200
"""Characters; shorter prompts say little about tokens per character."""


class Times(NamedTuple):
    """Before which times no request starts: by the two limits, and because the server said so."""

    by_requests: float = 0.0
    by_tokens: float = 0.0
    held: float = 0.0


class Pace:
    """When the next request may start; 0 for a limit means that there is none.

    Several servers' clients may share one, for limits are the account's.
    """

    def __init__(self, *, requests_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        self._seconds_per_request = 60 / (_SHARE * requests_per_minute) if requests_per_minute else 0.0
        self._seconds_per_token = 60 / (_SHARE * tokens_per_minute) if tokens_per_minute else 0.0
        self.times = Times()

    async def turn(self, tokens: int) -> None:
        """Return when a request of so many tokens may start, by the running event loop's time."""
        loop = asyncio.get_running_loop()
        start = self.start(loop.time(), tokens=tokens)
        while (wait := start - loop.time()) > 0:
            await asyncio.sleep(wait)
            if self.is_lost(start):
                start = self.start(loop.time(), tokens=tokens)

    def start(self, now: float, *, tokens: int) -> float:
        """Return when a request of so many tokens may start, and keep that place for it."""
        start = max(now, *self.times)
        by_tokens = max(start, self.times.by_tokens) + tokens * self._seconds_per_token
        self.times = self.times._replace(by_requests=start + self._seconds_per_request, by_tokens=by_tokens)
        return start

    def correct(self, *, estimated: int, taken: int) -> None:
        """Give back the tokens that a request did not take, or take those beyond its estimate."""
        seconds = (taken - estimated) * self._seconds_per_token
        self.times = self.times._replace(by_tokens=self.times.by_tokens + seconds)

    def hold(self, until: float) -> None:
        """Let nothing start before `until`: the server said so."""
        self.times = self.times._replace(held=max(self.times.held, until))

    def hold_for(self, seconds: float) -> None:
        """Let nothing start for so long, by the running event loop's time."""
        self.hold(asyncio.get_running_loop().time() + seconds)

    def is_lost(self, start: float) -> bool:
        """Tell whether a hold has overtaken a place; all that lost theirs would else start at its end."""
        return start < self.times.held


class TokenGuess:
    """How many tokens a prompt will take, learnt from those before it; rather too many than too few."""

    def __init__(self) -> None:
        self._per_character: float | None = None

    def tokens(self, characters: int) -> int:
        """Return the tokens that a prompt of so many characters may take."""
        rate = _FIRST_GUESS if self._per_character is None else self._per_character
        return _TOKENS_OF_A_CHAT + round(rate * characters)

    def learn(self, characters: int, tokens: int) -> None:
        """Take note of what a prompt took."""
        if characters >= _SHORTEST_PROMPT and tokens:
            rate = max(0, tokens - _TOKENS_OF_A_CHAT) / characters
            self._per_character = max(rate, self._per_character or 0.0)
