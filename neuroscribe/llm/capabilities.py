"""What a language model's server can do, found by trying it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from neuroscribe.errors import CapabilityError
from neuroscribe.ports.models import LLM, NextTokenScorer, PromptScorer
from neuroscribe.ports.rows import RowReader
from neuroscribe.ports.samples import A_DIGIT, Sample, distinct
from neuroscribe.study.kinds import KindSpec
from neuroscribe.study.sections import LLM_NEEDS, Capability
from neuroscribe.study.spec import Study


@dataclass(frozen=True)
class Capabilities:
    """What a model was found to do; None where it was not tried."""

    chat: bool | None = None
    """Chat turns are answered."""
    completion: bool | None = None
    """A text is continued."""
    echoed_logprobs: int | None = None
    """Log-probabilities per token of a prompt that is echoed; 0 where there are none."""
    answer_logprobs: int | None = None
    """Log-probabilities for the first token of an answer; 0 where there are none."""
    json_schema: bool | None = None
    """An answer is held to a JSON schema."""
    json_object: bool | None = None
    """An answer is held to be a JSON object."""
    refused: Sequence[str] = ()
    """Parts of a question that the server does not take, and that it is asked without."""

    @property
    def fulfilled(self) -> frozenset[Capability]:
        """What the model can be asked for."""
        found: dict[Capability, object] = {
            "reply": self.chat or self.completion,
            "prompt_logprobs": self.echoed_logprobs,
            "next_token": self.answer_logprobs,
        }
        return frozenset(name for name, there in found.items() if there)


@runtime_checkable
class Probed(Protocol):
    """A model whose capabilities can be found out."""

    async def capabilities(self) -> Capabilities:
        """Try what has not been tried yet, and return what was found."""
        ...


def simulators_that_work(study: Study, fulfilled: Collection[Capability]) -> list[str]:
    """Return the kinds of simulators that need no more of a language model than this."""
    needs = {kind: spec.needs for kind, spec in study.known_kinds("simulators").items()}
    return [kind for kind, need in needs.items() if need not in LLM_NEEDS or need in fulfilled]


@runtime_checkable
class Sampled(Protocol):
    """Settings of an explainer, simulator or scorer that asks a language model for answers."""

    def samples(self, tokens: int) -> Sequence[Sample]:
        """Return a tiny question in each form in which it asks about a sequence of so many tokens."""
        ...


def samples(specs: Iterable[KindSpec], tokens: int, need: Capability = "reply") -> list[Sample]:
    """Return a sample of each form in which those of `specs` ask that need this of the model."""
    asking = [spec for spec in specs if isinstance(spec, Sampled) and spec.needs == need]
    return distinct([sample for spec in asking for sample in spec.samples(tokens)])


async def check_llm(
    study: Study, llm: LLM, needs: Collection[Capability], specs: Collection[KindSpec] = ()
) -> None:
    """Raise LLMError, or CapabilityError with the alternatives, unless the model can do what is needed.

    It is asked in the forms of `specs`, those of the study that will ask it.
    """
    tokens = study.corpus.sequence_length
    if "reply" in needs:
        await llm.check(samples(specs, tokens))
    try:
        if "prompt_logprobs" in needs and not isinstance(llm, RowReader):
            if not isinstance(llm, PromptScorer):
                raise CapabilityError(f"{llm.identity} gives no log-probabilities of prompts")
            await llm.probe()
        if "next_token" in needs:
            if not isinstance(llm, NextTokenScorer):
                raise CapabilityError(f"{llm.identity} gives no log-probabilities of its answers")
            for sample in samples(specs, tokens, "next_token") or [A_DIGIT]:
                await llm.probe_next_token(sample)
    except CapabilityError as error:
        raise CapabilityError(f"{error}. {await _alternatives(study, llm)}") from error


async def _alternatives(study: Study, llm: LLM) -> str:
    """Return what a study may ask instead of what its model cannot do."""
    found = await llm.capabilities() if isinstance(llm, Probed) else Capabilities(chat=True)
    names = ", ".join(simulators_that_work(study, found.fulfilled))
    return (
        f'It can do: {names}. Name one of those under the study\'s simulators, or set provider = "local" in'
        " [llm] or [simulator_llm], or use a server such as vLLM, which can do them all"
    )
