"""A model behind a server as the study's LLM: replies and, where the wire has them, log-probabilities.

What can never succeed (a refused key, an unknown model) raises at once; what the server may yet answer is
tried again, and what stays unanswered is a failed reply. The key is in no message, log or reply.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.llm.capabilities import Capabilities
from neuroscribe.ports.replies import EchoedPrompt, Message, NextToken, Reply, Schema, Usage
from neuroscribe.ports.samples import A_DIGIT, SAY_YES, Sample
from neuroscribe.ports.stores import CallStore, Progress
from resources.llm import anthropic_wire, openai_wire
from resources.llm.addresses import base_address
from resources.llm.asking import Asking, Found, try_json, try_style
from resources.llm.faults import (
    EXPLAINING,
    Endpoint,
    Place,
    RejectedError,
    UnansweredError,
    WithheldError,
)
from resources.llm.http import Client
from resources.llm.openai_wire import (
    LogprobsMissingError,
    OpenAIWire,
    counts,
    read_echo,
    read_next_token,
    without_logprobs,
)
from resources.llm.prices import Prices
from resources.llm.transport import Drive, Transport
from resources.llm.wires import Body, PromptStyle, Question, Request, Wire

if TYPE_CHECKING:
    import httpx2

_ECHO_PROBE = "Token and value:\n cat\t7\n dog\t2\n"
_ECHO, _TOKEN = "score prompts", "give log-probabilities of its answers"


class Server:
    """One model behind a server that speaks one of `wires`; fulfils the port LLM.

    What the server turns out to be able to do is kept in `calls`. An `http_client` that is given stays open.
    Raises LLMError for an unusable address or key, and for a prompt style in which the vendor is not asked.
    """

    wires: ClassVar[Mapping[PromptStyle, type[Wire]]]

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
        wire = self.wire_for(prompt_style, place)(model)
        self.endpoint = Endpoint(model, base_address(base_url, wire.paths), wire, api_key.strip(), place)
        self.identity = f"{model} ({wire.name})"
        """Model and form of asking; not the address, for the same model may be served elsewhere."""
        self.calls_at_once = concurrency
        """Calls that may be in flight together."""
        client = Client(self.endpoint, concurrency=concurrency, timeout_s=timeout_s, http_client=http_client)
        transport = Transport(client, drive or Drive(), prices=prices or Prices(), progress=progress)
        self.asking = Asking(transport, Found(self.endpoint, calls, progress), wire)
        self._proven: set[str] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.identity} at {self.endpoint.url})"

    @classmethod
    def wire_for(cls, prompt_style: PromptStyle, place: Place) -> type[Wire]:
        """Return the wire that asks in a style; raises LLMError where there is none."""
        if prompt_style not in cls.wires:
            taken = " or ".join(f'"{style}"' for style in cls.wires)
            raise LLMError(
                f'prompt_style = "{prompt_style}" is not among those of the provider; set it to {taken} in'
                f" the study's {place.section}"
            )
        return cls.wires[prompt_style]

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

        A final assistant message is continued where the wire can do that, and left off elsewhere. A server
        that takes no schema is asked for JSON, and one that knows nothing of that just by the prompt.
        Raises LLMError where no later attempt could succeed.
        """
        question = Question(messages, max_tokens, temperature, seed, one_line=True, schema=schema)
        return await self.asking.replied(question)

    async def check(self, samples: Sequence[Sample] = ()) -> None:
        """Make one tiny call in each form in which a run will ask; raises LLMError unless all are answered.

        What has worked for this object is not asked again. A list of models would prove less: some servers
        give it to anyone, others to no restricted key, and several serve names that they do not list.
        """
        if self._proven:
            await self._prove(samples)
            return
        with self.asking.found.tried_anew():
            await self._prove(samples or (SAY_YES,))

    async def _prove(self, samples: Sequence[Sample]) -> None:
        asking = self.asking.hasty()
        for sample in samples:
            if sample.form not in self._proven:
                reply = await asking.proven(_question(sample))
                if reply.status == "failed":
                    raise self._silent(reply.raw)
                self._proven.add(sample.form)

    def _silent(self, raw: str) -> LLMError:
        return LLMError(
            f"{self.endpoint.url} gives no reply of {self.endpoint.model}: {raw[:300]}; check that the server"
            f" is well, says how its answers end, and speaks {self.endpoint.wire.speaks}"
        )


class AnthropicServer(Server):
    """One model behind Anthropic's messages API, which gives no log-probabilities."""

    wires = anthropic_wire.WIRES


class OpenAIServer(Server):
    """One model behind an OpenAI-compatible server; fulfils PromptScorer and NextTokenScorer as well.

    `prompt_style` chooses between chat turns and one text that the model continues to the end of the line.
    """

    wires = openai_wire.WIRES

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

    async def probe_next_token(self, sample: Sample = A_DIGIT) -> None:
        """Ask for one token in the form in which a run will, unless one has come already.

        Raises CapabilityError where its log-probabilities do not come, LLMError where no answer comes.
        """
        if self.asking.found.is_proven("answer_logprobs"):
            return
        read = await self._next_token(self.asking.hasty(), sample.messages)
        if read.status == "failed":
            raise LLMError(f"{self.endpoint.url} gives no answer of {self.endpoint.model}: {read.raw[:300]}")
        if read.status != "ok":
            self.asking.found.record(answer_logprobs=0)
            raise self.endpoint.incapable(_TOKEN, f"none came that can be read ({read.raw[:200]})")

    async def capabilities(self) -> Capabilities:
        """Try what has not been tried yet, and return what was found; raises LLMError without a server."""
        asking, tried = self.asking.hasty(), self.asking.found
        for style, wire in self.wires.items():
            await try_style(asking.by(wire(self.endpoint.model)), style)
        await try_json(asking)
        for name, probe in (("echoed", self.probe), ("answer", self.probe_next_token)):
            if getattr(tried.now, f"{name}_logprobs") is None:
                with suppress(CapabilityError, RejectedError):
                    await probe()
        return tried.now

    @property
    def _wire(self) -> OpenAIWire:
        wire = self.asking.wire
        assert isinstance(wire, OpenAIWire)
        return wire

    async def _echoed(self, asking: Asking, prompt: str) -> EchoedPrompt:
        ask = partial(self._wire.echo, prompt)
        try:
            answer, usage, count = await _with_logprobs(asking, ask, "echoed")
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
        ask = partial(self._wire.first_token, messages)
        try:
            answer, usage, count = await _with_logprobs(asking, ask, "answer")
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


def _question(sample: Sample) -> Question:
    return Question(
        sample.messages, sample.max_tokens, sample.temperature, 0, one_line=True, schema=sample.schema
    )


async def _with_logprobs(
    asking: Asking, request: Callable[[int], Request], capability: Literal["echoed", "answer"]
) -> tuple[Body, Usage, int]:
    """Ask for as many log-probabilities as the server allows; returns how many were asked for, too.

    Raises LogprobsMissingError for a server that has none.
    """
    said = ""
    for count in counts(getattr(asking.found.now, f"{capability}_logprobs")):
        try:
            answer, usage = await asking.answered(partial(request, count))
        except (RejectedError, UnansweredError) as refusal:
            said = without_logprobs(refusal)
        else:
            return answer, usage, count
    raise LogprobsMissingError(said)


SERVERS: Mapping[str, type[Server]] = {"openai": OpenAIServer, "anthropic": AnthropicServer}
"""By the study's `provider`."""
