"""Any OpenAI-compatible server as the study's LLM: replies, echoed prompts and first tokens with logprobs.

What can never succeed (a refused key, an unknown model) raises at once; what the server may yet answer is
tried again, and what stays unanswered is a failed reply. The key is in no message, log or reply.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.llm.capabilities import Capabilities
from neuroscribe.ports.replies import EchoedPrompt, Message, NextToken, Reply, Schema
from neuroscribe.ports.stores import CallStore, Progress
from resources.llm.asking import Answered, Asking, PromptStyle, try_json, try_styles
from resources.llm.faults import (
    EXPLAINING,
    Endpoint,
    Place,
    RejectedError,
    UnansweredError,
    WithheldError,
)
from resources.llm.found import Found
from resources.llm.http import Client
from resources.llm.openai_wire import (
    LogprobsMissingError,
    failed,
    read_echo,
    read_next_token,
    read_reply,
)
from resources.llm.prices import Prices
from resources.llm.transport import Drive, Transport

if TYPE_CHECKING:
    import httpx2

_ECHO_PROBE = "Token and value:\n cat\t7\n dog\t2\n"
_TOKEN_PROBE = [Message("user", "Answer with one digit: how many legs has a dog?")]
_ECHO, _TOKEN = "score prompts", "give log-probabilities of its answers"


class OpenAIServer:
    """One model behind an OpenAI-compatible server; fulfils the ports LLM, PromptScorer and NextTokenScorer.

    `prompt_style` chooses between chat turns and one text that the model continues to the end of the line.
    What the server turns out to be able to do is kept in `calls`. An `http_client` that is given stays open.
    Raises LLMError for an unusable address or key.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str = "",
        prompt_style: PromptStyle = "chat",
        concurrency: int = 16,
        timeout_s: float = 120.0,
        prices: Prices | None = None,
        drive: Drive | None = None,
        calls: CallStore | None = None,
        progress: Progress | None = None,
        http_client: "httpx2.AsyncClient | None" = None,
        place: Place = EXPLAINING,
    ) -> None:
        self.endpoint = Endpoint(model, base_url.strip().rstrip("/"), api_key.strip(), place)
        self._concurrency = concurrency
        client = Client(self.endpoint, concurrency=concurrency, timeout_s=timeout_s, http_client=http_client)
        transport = Transport(client, drive or Drive(), prices=prices or Prices(), progress=progress)
        self.asking = Asking(transport, Found(self.endpoint, prompt_style, calls), prompt_style)

    def __repr__(self) -> str:
        return f"OpenAIServer({self.identity} at {self.endpoint.url})"

    @property
    def identity(self) -> str:
        """Model and prompt style; not the address, for the same model may be served elsewhere."""
        return f"{self.endpoint.model} ({self.asking.prompt_style})"

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

        A text model continues a final assistant message; chat servers cannot, so it is left off there. A
        server that takes no schema is asked for JSON, and one that knows nothing of that just by the prompt.
        Raises LLMError where no later attempt could succeed.
        """
        return await _replied(self.asking, messages, max_tokens, schema, temperature=temperature, seed=seed)

    async def echoed(self, prompt: str) -> EchoedPrompt:
        """Score the tokens of `prompt`; offsets count its characters.

        Raises CapabilityError if the server does not echo log-probabilities.
        """
        return await self._echoed(self.asking, prompt)

    async def next_token(self, messages: Sequence[Message]) -> NextToken:
        """Return the likeliest first tokens of the answer; a text model continues a final assistant message.

        Raises CapabilityError if the server refuses to give log-probabilities at all.
        """
        return await self._next_token(self.asking, messages)

    async def check(self) -> None:
        """Make one tiny call; raises LLMError unless server, key, model and prompt style work.

        A list of models would prove less: some servers give it to anyone, others to no restricted key, and
        several serve names that they do not list.
        """
        question = [Message("user", "Say yes.")]
        reply = await _replied(self.asking.hasty(), question, 16, None, temperature=0.0, seed=0)
        if reply.status == "failed":
            raise LLMError(
                f"{self.endpoint.url} gives no reply of {self.endpoint.model}: {reply.raw[:300]}; check"
                " that the server is well and its address that of an OpenAI-compatible API (mostly .../v1)"
            )

    async def probe(self) -> None:
        """Score one tiny prompt, unless one has been scored already.

        Raises CapabilityError where simulation by log-probabilities of prompts cannot work.
        """
        if self.asking.found.is_proven("echoed_logprobs"):
            return
        echoed = await self._echoed(self.asking.hasty(), _ECHO_PROBE)
        if echoed.status != "ok":
            raise LLMError(
                f"{self.endpoint.url} scored no prompt with {self.endpoint.model} ({echoed.raw[:300]}); run"
                " again when it is well"
            )

    async def probe_next_token(self) -> None:
        """Ask for one token, unless one has come already.

        Raises CapabilityError where its log-probabilities do not come, LLMError where no answer comes.
        """
        if self.asking.found.is_proven("answer_logprobs"):
            return
        read = await self._next_token(self.asking.hasty(), _TOKEN_PROBE)
        if read.status == "failed":
            raise LLMError(f"{self.endpoint.url} gives no answer of {self.endpoint.model}: {read.raw[:300]}")
        if read.status != "ok":
            self.asking.found.record(answer_logprobs=0)
            raise self.endpoint.incapable(_TOKEN, f"none came that can be read ({read.raw[:200]})")

    async def capabilities(self) -> Capabilities:
        """Try what has not been tried yet, and return what was found; raises LLMError without a server."""
        asking, found = self.asking.hasty(), self.asking.found
        await try_styles(asking)
        await try_json(asking)
        for known, probe in (
            (found.now.echoed_logprobs, self.probe),
            (found.now.answer_logprobs, self.probe_next_token),
        ):
            if known is None:
                with suppress(CapabilityError, RejectedError):
                    await probe()
        return found.now

    async def _echoed(self, asking: Asking, prompt: str) -> EchoedPrompt:
        body = {"prompt": prompt, "echo": True, "temperature": 0}

        async def ask(count: int) -> Answered:
            return await asking.answered("/completions", {**body, "logprobs": count}, 1)

        try:
            answer, usage, count = await asking.with_logprobs(ask, "echoed")
            echoed = read_echo(answer, prompt, usage)
        except LogprobsMissingError as missing:
            asking.found.record(echoed_logprobs=0)
            raise self.endpoint.incapable(_ECHO, str(missing)) from None
        except WithheldError as turned_away:
            return EchoedPrompt((), (), status="refused", raw=str(turned_away))
        except UnansweredError as unanswered:
            return EchoedPrompt((), (), unanswered.usage, "failed", str(unanswered))
        asking.found.record(echoed_logprobs=count)
        return echoed

    async def _next_token(self, asking: Asking, messages: Sequence[Message]) -> NextToken:
        path, body = asking.question(messages)

        async def ask(count: int) -> Answered:
            chat = {"logprobs": True, "top_logprobs": count}
            wanted = chat if asking.prompt_style == "chat" else {"logprobs": count}
            return await asking.answered(path, {**body, "temperature": 0, **wanted}, 1)

        try:
            answer, usage, count = await asking.with_logprobs(ask, "answer")
        except LogprobsMissingError as missing:
            asking.found.record(answer_logprobs=0)
            raise self.endpoint.incapable(_TOKEN, str(missing)) from None
        except WithheldError as turned_away:
            return NextToken({}, "refused", str(turned_away))
        except UnansweredError as unanswered:
            return NextToken({}, "failed", str(unanswered), unanswered.usage)
        read = read_next_token(answer, usage)
        if read.status == "ok":
            asking.found.record(answer_logprobs=count)
        return read


async def _replied(
    asking: Asking, messages: Sequence[Message], max_tokens: int, schema: Schema | None, **sampling: float
) -> Reply:
    path, body = asking.question(messages)
    body |= sampling
    if asking.prompt_style == "completion":
        body["stop"] = "\n"
    try:
        if schema is None:
            answer, usage = await asking.answered(path, body, max_tokens)
        else:
            answer, usage = await asking.structured(path, body, max_tokens, schema)
    except WithheldError as turned_away:
        return failed(str(turned_away), status="refused")
    except UnansweredError as unanswered:
        return failed(str(unanswered), usage=unanswered.usage)
    return read_reply(answer, usage)
