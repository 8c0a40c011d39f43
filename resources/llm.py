"""Any OpenAI-compatible server as the study's LLM: replies to prompts, and prompts echoed with logprobs.

What can never succeed (no server, a refused key, an unknown model) raises at once; what the server may yet
answer is retried, and what stays unanswered is a failed reply. The key is in no message, log or reply.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from neuroscribe.errors import LLMError
from neuroscribe.explain.messages import as_text
from neuroscribe.ports import EchoedPrompt, Message, Reply, Schema
from resources.llm_faults import (
    Endpoint,
    RejectedError,
    UnansweredError,
    WithheldError,
    of_connection,
    of_status,
    without_echo,
)
from resources.llm_wire import EchoMissingError, Prices, failed, read_echo, read_reply

if TYPE_CHECKING:
    import ssl

    import httpx2
    import openai

_NO_KEY = "no-key"  # the client insists on a key; servers without one ignore it
_CONNECT_S = 10.0
_TOP_LOGPROBS = (20, 10, 5)  # tried in turn: most servers give 20, OpenAI's own completions 5
_PROBE = "Token and value:\n cat\t7\n dog\t2\n"


class OpenAIServer:
    """One model behind an OpenAI-compatible server; fulfils the ports LLM and PromptScorer.

    `prompt_style` chooses between chat turns and one text that the model continues to the end of the line.
    An `http_client` that is given stays open; otherwise connections live as long as calls are in flight, so
    that any number of event loops may follow each other. Raises LLMError for an unusable address or key.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str = "",
        prompt_style: Literal["chat", "completion"] = "chat",
        concurrency: int = 16,
        max_retries: int = 5,
        timeout_s: float = 120.0,
        usd_per_million_prompt_tokens: float | None = None,
        usd_per_million_completion_tokens: float | None = None,
        http_client: "httpx2.AsyncClient | None" = None,
    ) -> None:
        self._endpoint = Endpoint(model, base_url.strip().rstrip("/"), api_key.strip())
        self._prompt_style = prompt_style
        self._concurrency, self._max_retries, self._timeout_s = concurrency, max_retries, timeout_s
        self._prices = Prices(usd_per_million_prompt_tokens, usd_per_million_completion_tokens)
        self._http_client = http_client
        self._sessions: dict[asyncio.AbstractEventLoop, _Session] = {}
        self._length_limit = "max_tokens"
        self._top_logprobs = _TOP_LOGPROBS[0]

    def __repr__(self) -> str:
        return f"OpenAIServer({self.identity} at {self._endpoint.url})"

    @property
    def identity(self) -> str:
        """Model and prompt style; not the address, for the same model may be served elsewhere."""
        return f"{self._endpoint.model} ({self._prompt_style})"

    @property
    def calls_at_once(self) -> int:
        """Calls that may be in flight together."""
        return self._concurrency

    async def reply(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Schema | None = None,
    ) -> Reply:
        """Answer a prompt.

        A text model continues a final assistant message; chat servers cannot, so it is left off there. Raises
        LLMError where no later attempt could succeed.
        """
        path, body = self._request(messages)
        body |= {"temperature": temperature, "seed": seed}
        if schema is not None:
            form = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        try:
            text = await self._limited(path, body, max_tokens)
        except WithheldError as turned_away:
            return failed(str(turned_away), status="refused")
        except UnansweredError as unanswered:
            return failed(str(unanswered))
        return read_reply(text, prices=self._prices)

    async def echoed(self, prompt: str) -> EchoedPrompt:
        """Score the tokens of `prompt`; offsets count its characters.

        Raises CapabilityError if the server does not echo log-probabilities, LLMError if it does not answer.
        """
        body = {"prompt": prompt, "echo": True, "max_tokens": 1, "temperature": 0}
        try:
            return read_echo(await self._with_logprobs(body), prompt, prices=self._prices)
        except EchoMissingError as missing:
            raise self._endpoint.incapable(str(missing)) from None
        except (UnansweredError, WithheldError) as unanswered:
            raise LLMError(
                f"{self._endpoint.url} scored no prompt with {self._endpoint.model} in"
                f" {self._max_retries + 1} attempts ({unanswered}); run again when it is well"
            ) from None

    async def check(self) -> None:
        """Make one tiny call; raises LLMError unless server, key, model and prompt style work.

        A list of models would prove less: some servers give it to anyone, others to no restricted key, and
        several serve names that they do not list.
        """
        reply = await self._hasty().reply(
            [Message("user", "Say yes.")], max_tokens=16, temperature=0.0, seed=0
        )
        if reply.status == "failed":
            raise LLMError(
                f"{self._endpoint.url} gives no reply of {self._endpoint.model}: {reply.raw[:300]}; check"
                " that the server is well and its address that of an OpenAI-compatible API (mostly .../v1)"
            )

    async def probe(self) -> None:
        """Score one tiny prompt; raises CapabilityError where simulation by log-probabilities cannot work."""
        await self._hasty().echoed(_PROBE)

    def _request(self, messages: Sequence[Message]) -> tuple[str, dict[str, Any]]:
        """Return the path and the body that ask for a continuation or an answer."""
        if self._prompt_style == "completion":
            return "/completions", {"prompt": as_text(messages), "stop": "\n"}
        stubbed = bool(messages) and messages[-1].role == "assistant"
        turns = messages[:-1] if stubbed else messages
        return "/chat/completions", {"messages": [{"role": m.role, "content": m.content} for m in turns]}

    async def _limited(self, path: str, body: dict[str, Any], max_tokens: int) -> str:
        """Post with a limit on length, under the name by which the server knows it."""
        limit = self._length_limit
        try:
            return await self._post(path, {**body, limit: max_tokens})
        except RejectedError as rejected:
            # Reasoning models know the limit by its newer name only, older servers by the older one only.
            if limit != "max_tokens" or "max_completion_tokens" not in rejected.said:
                raise
        self._length_limit = "max_completion_tokens"
        return await self._limited(path, body, max_tokens)

    async def _with_logprobs(self, body: dict[str, Any]) -> str:
        """Post with as many log-probabilities per token as the server allows."""
        said = ""
        for count in [count for count in _TOP_LOGPROBS if count <= self._top_logprobs]:
            try:
                text = await self._post("/completions", {**body, "logprobs": count})
            except (RejectedError, UnansweredError) as refusal:
                said = without_echo(refusal)
            else:
                self._top_logprobs = count
                return text
        raise EchoMissingError(said)

    async def _post(self, path: str, body: dict[str, Any]) -> str:
        """Return the body of a success; raises LLMError, UnansweredError or WithheldError for all else."""
        import httpx2
        import openai

        async with self._client() as client:
            try:
                response = await client.post(
                    path,
                    cast_to=httpx2.Response,
                    body={"model": self._endpoint.model, **body},
                    options={"max_retries": self._max_retries},
                )
            except openai.APIStatusError as error:
                raise of_status(error, self._endpoint) from None
            except openai.APIConnectionError as error:
                raise of_connection(error, self._endpoint) from None
        return self._endpoint.without_key(response.text)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator["openai.AsyncOpenAI"]:
        """Lend the client of the running event loop for one call; the last call to end closes it."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _Session(self._opened(), asyncio.Semaphore(self._concurrency))
        session.users += 1
        try:
            async with session.slots:
                yield session.client
        finally:
            session.users -= 1
            if not session.users:
                del self._sessions[loop]
                if self._http_client is None:
                    await session.client.close()

    def _opened(self) -> "openai.AsyncOpenAI":
        import httpx2
        import openai

        http_client = self._http_client or httpx2.AsyncClient(
            verify=_trusted(),
            limits=httpx2.Limits(max_connections=self._concurrency),
            trust_env=not self._endpoint.is_local,
            follow_redirects=True,
        )
        return openai.AsyncOpenAI(
            api_key=self._endpoint.key or _NO_KEY,
            base_url=self._endpoint.url,
            timeout=httpx2.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._timeout_s)),
            http_client=http_client,
        )

    def _hasty(self) -> "OpenAIServer":
        """Return this server with few retries, for calls that are to find a mistake before the run."""
        hasty = copy.copy(self)
        hasty._max_retries = min(2, self._max_retries)
        return hasty


@dataclass
class _Session:
    """The calls in flight on one event loop: their client, their slots, their number."""

    client: "openai.AsyncOpenAI"
    slots: asyncio.Semaphore
    users: int = 0


@cache
def _trusted() -> "ssl.SSLContext":
    """Return the certificates to trust; reading them takes longer than opening a client."""
    import httpx2

    return httpx2.create_ssl_context()
