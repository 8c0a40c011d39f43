"""A server that takes time by a clock that jumps, so that limits and outages are tested at once."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

import httpx2

from neuroscribe.ports.replies import Message, Reply
from resources.llm.server import OpenAIServer

QUESTION = [Message("user", "What do rain and snow share?" * 10)]
ANSWER = {
    "choices": [{"message": {"content": "weather"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 1},
}
Answer = Callable[[float], "httpx2.Response | float"]
"""From the second of a request to what is sent: a response, or an ordinary one after so many seconds."""


class TimedServer:
    """Answers by `answer` and remembers when it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.arrivals: list[float] = []
        self._answer = answer

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        now = asyncio.get_running_loop().time()
        self.arrivals.append(now)
        sent = self._answer(now)
        if isinstance(sent, httpx2.Response):
            return sent
        await asyncio.sleep(sent)
        return httpx2.Response(200, json=ANSWER)

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self))


def refused(status: int, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=named, content=json.dumps({"error": {"message": "not now"}}))


def server(client: httpx2.AsyncClient, **options: object) -> OpenAIServer:
    return OpenAIServer("m", base_url="http://llm.example/v1", http_client=client, **options)  # type: ignore[arg-type]


async def replies(asked: OpenAIServer, count: int) -> Sequence[Reply]:
    async def one(seed: int) -> Reply:
        return await asked.reply(QUESTION, max_tokens=10, temperature=0.0, seed=seed)

    calls: list[Awaitable[Reply]] = [one(seed) for seed in range(count)]
    return await asyncio.gather(*calls)
