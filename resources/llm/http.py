"""Sends one request to a server, and says how it ended.

The wire knows the headers. Requests go straight through HTTP clients, for what a vendor's client does to each
of them costs as much as sending it (docs/decisions/0018-requests-without-models.md).
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from resources.llm.charsets import decoded
from resources.llm.faults import Endpoint, UnansweredError, of_connection, of_status

if TYPE_CHECKING:
    import httpx2

_CONNECT_S = 10.0
_WHOLE = 5
"""Times `timeout_s` after which an answer must be whole: its parts may take `timeout_s` each, and servers may
send a blank now and then to keep the connection while the model works.
"""
_MOST_BYTES = 64 * 2**20
"""Of an answer, unpacked; one that is well has far less than a hundredth of that."""


class Client:
    """The way to one server, for at most `concurrency` calls at a time.

    An answer may take `timeout_s` to begin, as long for each part, and five times as long in all.
    An `http_client` that is given stays open; otherwise connections live as long as calls are in flight, so
    that any number of event loops may follow each other.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        concurrency: int,
        timeout_s: float,
        http_client: "httpx2.AsyncClient | None" = None,
    ) -> None:
        self.endpoint, self.concurrency = endpoint, concurrency
        self._timeout_s, self._http_client = timeout_s, http_client
        self._urls: dict[str, httpx2.URL] = {}
        self._sessions: dict[asyncio.AbstractEventLoop, _Session] = {}
        self._doubted: set[str] = set()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator["Connection"]:
        """Lend a connection of the running event loop for one call; the last call to end closes them all."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _Session(asyncio.Semaphore(self.concurrency))
        session.users += 1
        try:
            async with session.slots:
                connection = session.idle.pop() if session.idle else Connection(self._opened())
                try:
                    yield connection
                finally:
                    session.idle.append(connection)
        finally:
            session.users -= 1
            if not session.users:
                del self._sessions[loop]
                if self._http_client is None:
                    await asyncio.gather(*(connection.http.aclose() for connection in session.idle))

    async def posted(self, connection: "Connection", path: str, body: Mapping[str, Any]) -> str:
        """Return the body of a success; raises LLMError, UnansweredError or WithheldError for all else."""
        import anyio
        import httpx2

        deadline_s = _WHOLE * self._timeout_s
        # Escaped, because prompts may hold lone surrogates, which UTF-8 cannot carry.
        question = json.dumps(body).encode("ascii")
        sent = connection.http.stream(
            "POST",
            self._url(path),
            content=question,
            headers=self._headers,
            timeout=self.time_outs,
            follow_redirects=True,
        )
        try:
            async with asyncio.timeout(deadline_s), sent as response:
                content = await _read(response)
        except (httpx2.RequestError, ssl.SSLError, anyio.EndOfStream) as error:
            raise of_connection(error, self.endpoint) from None
        except TimeoutError:
            raise UnansweredError(f"no whole answer in {deadline_s:.0f} seconds", billed=True) from None
        if not response.is_success:
            raise of_status(_unpacked(response, content), self.endpoint)
        if connection.brings_again(question, content) and not self._is_common(content):
            await self._renew(connection)
            raise UnansweredError("no answer: that to the question before came a second time", billed=True)
        return self.endpoint.without_key(decoded(content, response.charset_encoding))

    @cached_property
    def time_outs(self) -> "httpx2.Timeout":
        """How long to wait for a connection, and for an answer."""
        import httpx2

        return httpx2.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._timeout_s))

    @cached_property
    def _headers(self) -> dict[str, str]:
        return self.endpoint.wire.headers(self.endpoint)

    def _url(self, path: str) -> "httpx2.URL":
        """Return the address of a path, which is parsed once."""
        import httpx2

        if path not in self._urls:
            self._urls[path] = httpx2.URL(self.endpoint.url + path)
        return self._urls[path]

    def _is_common(self, answer: bytes) -> bool:
        """Tell whether an answer's id was doubted before: a server that gives it again has no unique ones.

        What is delivered twice by mistake comes twice, and not a third time.
        """
        name = _id(answer)
        was_doubted = name in self._doubted
        self._doubted.add(name)
        return was_doubted

    async def _renew(self, connection: "Connection") -> None:
        """Close what may still bring answers of other questions, and open another."""
        if self._http_client is None:
            await connection.http.aclose()
            connection.http = self._opened()

    def _opened(self) -> "httpx2.AsyncClient":
        import httpx2

        return self._http_client or httpx2.AsyncClient(
            event_hooks={"request": [self._keep_key]},
            verify=_trusted(),
            limits=httpx2.Limits(max_connections=1),
            trust_env=not self.endpoint.is_local,
        )

    async def _keep_key(self, request: "httpx2.Request") -> None:
        """Take the key off a request that a redirect leads to another server."""
        at, home, key = request.url, self._url(""), self.endpoint.key
        if key and (at.scheme, at.host, at.port) != (home.scheme, home.host, home.port):
            for name in [name for name, value in request.headers.items() if key in value]:
                del request.headers[name]


class Connection:
    """An HTTP client for one call at a time, and what came over it last.

    One that is shared by all calls looks through all its connections at every request.
    """

    def __init__(self, http: "httpx2.AsyncClient") -> None:
        self.http = http
        self._last = (0, 0)

    def brings_again(self, question: bytes, answer: bytes) -> bool:
        """Tell whether this is the last answer once more, though another question was asked; remember it.

        A proxy that delivers twice leaves the second copy to whoever asks next. Only answers with an `id` are
        told apart: two without one may be equal by chance.
        """
        asked, said = self._last
        self._last = hash(question), hash(answer)
        return said == self._last[1] and asked != self._last[0] and bool(_id(answer))


@dataclass
class _Session:
    """The calls in flight on one event loop: their slots, their number, and the connections none uses."""

    slots: asyncio.Semaphore
    users: int = 0
    idle: list[Connection] = field(default_factory=list)


async def _read(response: "httpx2.Response") -> bytes:
    """Return the body, unpacked; raises UnansweredError when it does not end."""
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > _MOST_BYTES:
            raise UnansweredError(f"no answer: a body of more than {_MOST_BYTES // 2**20} MiB", billed=True)
    return bytes(content)


def _id(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("id") or "")
    except (ValueError, AttributeError, RecursionError):
        return ""


def _unpacked(response: "httpx2.Response", content: bytes) -> "httpx2.Response":
    """Return a response that has its whole body."""
    import httpx2

    packing = ("content-encoding", "transfer-encoding", "content-length")
    headers = [(name, value) for name, value in response.headers.items() if name.lower() not in packing]
    return httpx2.Response(response.status_code, headers=headers, content=content)


@cache
def _trusted() -> ssl.SSLContext:
    """Return the certificates to trust; reading them takes longer than opening a client."""
    import httpx2

    return httpx2.create_ssl_context()
