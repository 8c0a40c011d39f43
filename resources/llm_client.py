"""Sends one request to an OpenAI-compatible server through the `openai` client, and says how it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from resources.llm_endpoints import Endpoint
from resources.llm_faults import of_connection, of_status

if TYPE_CHECKING:
    import ssl

    import httpx2
    import openai

_NO_KEY = "no-key"  # the client insists on a key; servers without one ignore it
_CONNECT_S = 10.0


class Client:
    """The way to one server, for at most `concurrency` calls at a time.

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
        self._sessions: dict[asyncio.AbstractEventLoop, _Session] = {}

    @asynccontextmanager
    async def slot(self) -> AsyncIterator["openai.AsyncOpenAI"]:
        """Lend a client of the running event loop for one call; the last call to end closes them all.

        Each call has a client, that is a connection, to itself: one that is shared by all looks through all
        its connections at every request.
        """
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _Session(asyncio.Semaphore(self.concurrency))
        session.users += 1
        try:
            async with session.slots:
                client = session.idle.pop() if session.idle else self._opened()
                try:
                    yield client
                finally:
                    session.idle.append(client)
        finally:
            session.users -= 1
            if not session.users:
                del self._sessions[loop]
                if self._http_client is None:
                    await asyncio.gather(*(client.close() for client in session.idle))

    async def posted(self, client: "openai.AsyncOpenAI", path: str, body: dict[str, Any]) -> str:
        """Return the body of a success; raises LLMError, UnansweredError or WithheldError for all else."""
        import httpx2
        import openai

        try:
            response = await client.post(
                path, cast_to=httpx2.Response, body={"model": self.endpoint.model, **body}
            )
        except openai.APIStatusError as error:
            raise of_status(error, self.endpoint) from None
        except openai.APIConnectionError as error:
            raise of_connection(error, self.endpoint) from None
        return self.endpoint.without_key(response.text)

    def _opened(self) -> "openai.AsyncOpenAI":
        import httpx2
        import openai

        http_client = self._http_client or httpx2.AsyncClient(
            verify=_trusted(),
            limits=httpx2.Limits(max_connections=1),
            trust_env=not self.endpoint.is_local,
            follow_redirects=True,
        )
        return openai.AsyncOpenAI(
            api_key=self.endpoint.key or _NO_KEY,
            base_url=self.endpoint.url,
            timeout=httpx2.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._timeout_s)),
            http_client=http_client,
            max_retries=0,  # retries are ours: the client's own ignore a Retry-After of more than a minute
        )


@dataclass
class _Session:
    """The calls in flight on one event loop: their slots, their number, and the clients that none uses."""

    slots: asyncio.Semaphore
    users: int = 0
    idle: "list[openai.AsyncOpenAI]" = field(default_factory=list)


@cache
def _trusted() -> "ssl.SSLContext":
    """Return the certificates to trust; reading them takes longer than opening a client."""
    import httpx2

    return httpx2.create_ssl_context()
