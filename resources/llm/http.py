"""Sends one request to a server, and says how it ended: all that goes to LLM servers goes through here.

The wire knows the headers, and no others are sent. No redirect is followed to another server, and nothing is
read without a bound. Requests go straight through HTTP clients, for what a vendor's client does to each of
them costs as much as sending it (docs/decisions/0018-requests-without-models.md).
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from neuroscribe import __version__
from neuroscribe.errors import LLMError
from neuroscribe.secrets.known import blotted
from resources.llm.addresses import above, below, is_same_server
from resources.llm.charsets import decoded
from resources.llm.faults import Endpoint, UnansweredError, of_body, of_connection, of_redirect, of_status

if TYPE_CHECKING:
    import httpx2

_CONNECT_S = 10.0
_WHOLE = 5
"""Times `timeout_s` after which an answer must be whole: its parts may take `timeout_s` each, and servers may
send a blank now and then to keep the connection while the model works.
"""
_MOST_BYTES = 16 * 2**20
"""Of an answer, unpacked; one that is well has far less than a tenth of that. Searched for secrets and
read as JSON, one byte of a hostile answer takes up to fifty."""
_OWN_HEADERS = {"accept-encoding": "gzip, deflate", "user-agent": f"neuroscribe/{__version__}"}
_PACKINGS = ("gzip", "deflate", "br", "zstd")
"""What the HTTP client unpacks; the last two may grow without bound at one step, and are not asked for."""
_REDIRECTS = 3
_METHOD_IS_KEPT = (307, 308)


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
        # Escaped, because prompts may hold lone surrogates, which UTF-8 cannot carry.
        question = json.dumps(body).encode("ascii")
        text = await self.fetched(connection, "POST", path, question)
        if connection.brings_again(question, text) and not self._is_common(text):
            await self._renew(connection)
            raise UnansweredError("no answer: that to the question before came a second time", billed=True)
        return text

    async def fetched(
        self, connection: "Connection", method: str, path: str, content: bytes = b"", kind: str = ""
    ) -> str:
        """Return the body of a success, without any secret; `kind` is the content's, if it is no JSON."""
        async with self.response(connection, method, path, content, kind) as response:
            text = blotted(decoded(await read(response), response.charset_encoding))
        if error := of_body(text, response.headers, self.endpoint):
            raise error
        return text

    @asynccontextmanager
    async def response(
        self, connection: "Connection", method: str, path: str, content: bytes = b"", kind: str = ""
    ) -> "AsyncIterator[httpx2.Response]":
        """Open a success, whose body is read by `read` or `parts`.

        Raises LLMError, UnansweredError or WithheldError for all else, and for what is met while it is read.
        """
        import anyio
        import httpx2

        deadline_s = _WHOLE * self._timeout_s
        headers = {**self._headers, **({"content-type": kind} if kind else {})}
        try:
            async with (
                asyncio.timeout(deadline_s),
                self._followed(connection, method, path, content=content, headers=headers) as response,
            ):
                if not response.is_success:
                    raise of_status(_unpacked(response, await read(response)), self.endpoint)
                yield response
        except (httpx2.RequestError, ssl.SSLError, anyio.EndOfStream) as error:
            raise of_connection(error, self.endpoint) from None
        except TimeoutError:
            raise UnansweredError(f"no whole answer in {deadline_s:.0f} seconds", billed=True) from None

    @asynccontextmanager
    async def _followed(
        self, connection: "Connection", method: str, path: str, **sent: Any
    ) -> "AsyncIterator[httpx2.Response]":
        """Open the answer to a request, after redirects within the server that keep method and body.

        Another server would get the prompts, and its answers would pass for those of the study's model.
        """
        import httpx2

        url = self._url(path)
        for left in reversed(range(_REDIRECTS)):
            timeouts = {"timeout": self.time_outs, "follow_redirects": False}
            async with connection.http.stream(method, url, **sent, **timeouts) as response:
                if not response.has_redirect_location:
                    yield response
                    return
                status, there = response.status_code, _joined(url, response.headers["location"])
            if not left or status not in _METHOD_IS_KEPT or not is_same_server(str(url), there):
                raise of_redirect(status, there, above(there, path), self.endpoint)
            url = httpx2.URL(there)

    @cached_property
    def time_outs(self) -> "httpx2.Timeout":
        """How long to wait for a connection, and for an answer."""
        import httpx2

        return httpx2.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._timeout_s))

    @cached_property
    def _headers(self) -> dict[str, str]:
        return {**_OWN_HEADERS, **self.endpoint.wire.headers(self.endpoint)}

    def _url(self, path: str) -> "httpx2.URL":
        """Return the address of a path, which is parsed once."""
        import httpx2

        if path not in self._urls:
            self._urls[path] = httpx2.URL(below(self.endpoint.url, path))
        return self._urls[path]

    def _is_common(self, answer: str) -> bool:
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

        if self._http_client is not None:
            return self._http_client
        try:
            return httpx2.AsyncClient(
                verify=_trusted(),
                limits=httpx2.Limits(max_connections=1),
                trust_env=not self.endpoint.is_local,
            )
        except (OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
            raise LLMError(
                f"{self.endpoint.url} cannot be asked ({type(error).__name__}: {error}); correct the"
                " environment variables HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and"
                " SSL_CERT_DIR, as far as they are set"
            ) from None


class Connection:
    """An HTTP client for one call at a time, and what came over it last.

    One that is shared by all calls looks through all its connections at every request.
    """

    def __init__(self, http: "httpx2.AsyncClient") -> None:
        self.http = http
        self._last = (0, 0)

    def brings_again(self, question: bytes, answer: str) -> bool:
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


async def read(response: "httpx2.Response", *, most: int = _MOST_BYTES) -> bytes:
    """Return a body of at most `most` bytes, unpacked; raises UnansweredError for a larger one."""
    content = bytearray()
    async for part in parts(response):
        content += part
        if len(content) > most:
            raise UnansweredError(f"no answer: a body of more than {most // 2**20} MiB", billed=True)
    return bytes(content)


async def parts(response: "httpx2.Response") -> AsyncIterator[bytes]:
    """Yield a body in parts, unpacked; raises UnansweredError where it is packed as was not asked for.

    With what was asked for, a packed body grows a thousandfold at most.
    """
    sent = response.headers.get("content-encoding", "")
    packings = [name for name in sent.lower().replace(" ", "").split(",") if name in _PACKINGS]
    if packings not in ([], ["gzip"], ["deflate"]):
        raise UnansweredError(f"no answer: a body packed as {sent[:50]!r}", billed=True)
    async for part in response.aiter_bytes():
        yield part


def _joined(url: "httpx2.URL", location: str) -> str:
    """Return the address that a redirect names, or its words where that is none."""
    import httpx2

    try:
        return str(url.join(location))
    except (ValueError, httpx2.InvalidURL):
        return repr(location[:300])


def _id(answer: str) -> str:
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
