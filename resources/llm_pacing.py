"""Keeps a server's limits on requests and tokens per minute filled, and never more than filled.

Starts are spread evenly, so that no stretch of a minute holds more than the limit. Pure: the time is an
argument, in seconds of any steady clock.
"""

_SHARE = 0.99
"""Of a limit that is used: servers count by arrival, which the network shifts."""
_TOKENS_OF_A_CHAT = 32
"""Tokens of a request that are not its text: roles, templates."""
_FIRST_GUESS = 0.5
"""Tokens per character before any answer has told; English prose has a quarter."""
_SHORTEST_PROMPT = 200
"""Characters; shorter prompts say little about tokens per character."""


class Pace:
    """When the next request may start; 0 for a limit means that there is none.

    Several servers' clients may share one, for limits are the account's.
    """

    def __init__(self, *, requests_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        self._seconds_per_request = 60 / (_SHARE * requests_per_minute) if requests_per_minute else 0.0
        self._seconds_per_token = 60 / (_SHARE * tokens_per_minute) if tokens_per_minute else 0.0
        self._next_by_requests = self._next_by_tokens = self._held_until = 0.0

    def start(self, now: float, *, tokens: int) -> float:
        """Return when a request of so many tokens may start, and keep that place for it."""
        start = max(now, self._next_by_requests, self._next_by_tokens, self._held_until)
        self._next_by_requests = start + self._seconds_per_request
        self._next_by_tokens = max(start, self._next_by_tokens) + tokens * self._seconds_per_token
        return start

    def correct(self, *, estimated: int, taken: int) -> None:
        """Give back the tokens that a request did not take, or take those beyond its estimate."""
        self._next_by_tokens += (taken - estimated) * self._seconds_per_token

    def hold(self, until: float) -> None:
        """Let nothing start before `until`: the server said so."""
        self._held_until = max(self._held_until, until)

    def is_lost(self, start: float) -> bool:
        """Tell whether a hold has overtaken a place; all that lost theirs would else start at its end."""
        return start < self._held_until


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
            found = max(0, tokens - _TOKENS_OF_A_CHAT) / characters
            self._per_character = max(found, self._per_character or 0.0)
