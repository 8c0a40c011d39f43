"""The `openai` client, all of whose requests go through ours.

By itself it reads variables of the environment, sends some of them as headers to whatever server it
is pointed at, follows redirects, and reads bodies of any size. It knows the forms of files, jobs and pages.
"""

import httpx2
import openai

from resources.llm.http import Client, Connection


class _Ours(httpx2.AsyncBaseTransport):
    """Sends the path, query and content of a request, and nothing else of it; brings successes alone.

    What goes wrong is raised as `Client.fetched` does, and comes out as the cause of an APIConnectionError.
    """

    def __init__(self, client: Client, connection: Connection) -> None:
        self._client, self._connection = client, connection

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return an answer with its whole body."""
        path, kind = request.url.raw_path.decode("ascii"), request.headers.get("content-type", "")
        content = await request.aread()
        text = await self._client.fetched(self._connection, request.method, path, content, kind)
        # The client parses what is called JSON, and some servers call it text.
        kind = "application/json" if text.lstrip().startswith(("{", "[")) else "text/plain"
        return httpx2.Response(200, headers={"content-type": kind}, content=text.encode())


def openai_client(client: Client, connection: Connection) -> openai.AsyncOpenAI:
    """Return the `openai` client for the server of ours; what it takes for address and key is never sent."""
    return openai.AsyncOpenAI(
        api_key="not sent",
        base_url="http://not.sent",
        http_client=httpx2.AsyncClient(transport=_Ours(client, connection)),
        max_retries=0,  # retries are ours: the client's own ignore a Retry-After of more than a minute
    )
