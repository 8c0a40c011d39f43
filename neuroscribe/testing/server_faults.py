"""What goes wrong between a server and its client, to be brought about on purpose."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field

from neuroscribe.testing.server_bodies import error_body


@dataclass(frozen=True)
class ScriptedFault:
    """What is sent instead of an answer; with neither status nor reset, a late, doubled or cut answer."""

    status: int | None = None
    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay_s: float = 0.0
    reset: bool = False
    cut_at: int | None = None
    """Bytes of the body after which the connection is cut off."""
    copies: int = 1
    """How often the whole response is sent."""
    again_later: bool = False
    """Whether it is sent once more when the connection's next question has come."""

    @staticmethod
    def error(status: int, message: str, *, code: str | None = None) -> "ScriptedFault":
        """Return an HTTP error in the protocol's form."""
        return ScriptedFault(status, error_body(message, code=code))

    @staticmethod
    def too_many(*, retry_after: str | None = None) -> "ScriptedFault":
        """Return a refusal to answer before so many seconds or a date; None: before nobody knows when."""
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return ScriptedFault(429, error_body("slow down"), headers)

    @staticmethod
    def moved(location: str, status: int = 307) -> "ScriptedFault":
        """Return a redirect."""
        return ScriptedFault(status, "", {"Location": location})

    @staticmethod
    def packed(body: bytes, *packings: str) -> "ScriptedFault":
        """Return a success whose body is packed by gzip, once for each name of a packing."""
        for _ in packings:
            body = gzip.compress(body)
        return ScriptedFault(200, body, {"Content-Encoding": ", ".join(packings)})

    @staticmethod
    def page(status: int = 200) -> "ScriptedFault":
        """Return a web page, as proxies and sign-in walls send."""
        return ScriptedFault(status, "<html><body>Welcome</body></html>", {"Content-Type": "text/html"})

    @staticmethod
    def connection_reset() -> "ScriptedFault":
        """Return a connection cut off before the answer."""
        return ScriptedFault(reset=True)

    @staticmethod
    def connection_cut(body: str, *, at: int = 20) -> "ScriptedFault":
        """Return a connection cut off in the middle of a body."""
        return ScriptedFault(200, body, cut_at=at)

    @staticmethod
    def garbled() -> "ScriptedFault":
        """Return bytes that are said to be compressed and are not."""
        return ScriptedFault(200, b"\x1f\x8b\x08 no gzip", {"Content-Encoding": "gzip"})

    @staticmethod
    def twice(*, later: bool = False) -> "ScriptedFault":
        """Return an ordinary answer that comes twice over one connection, at once or to the next question."""
        return ScriptedFault(again_later=True) if later else ScriptedFault(copies=2)

    @staticmethod
    def late(seconds: float) -> "ScriptedFault":
        """Return an ordinary answer after a while."""
        return ScriptedFault(delay_s=seconds)
