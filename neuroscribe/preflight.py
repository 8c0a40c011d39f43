"""What can be known before anything is spent: whether a study's models can do what it asks of them."""

from collections.abc import Collection

from neuroscribe.capabilities import Capabilities, Probed, simulators_that_work
from neuroscribe.errors import CapabilityError
from neuroscribe.local_llm import LocalLLM
from neuroscribe.ports import LLM, NextTokenScorer, Progress, PromptScorer
from neuroscribe.sections import Capability
from neuroscribe.simulate.local import LocalSimulator
from neuroscribe.simulate.specs import AllAtOnce
from neuroscribe.sources import EncoderSource, LLMSource
from neuroscribe.studies import Study

LLM_NEEDS: frozenset[Capability] = frozenset({"reply", "prompt_logprobs", "next_token"})
"""What only a language model fulfils."""


async def check_models(
    study: Study, *, llm: LLMSource, encoders: EncoderSource, progress: Progress | None = None
) -> None:
    """Open every model that the study needs and ask it for a sample of what it will be asked for.

    Raises LLMError for a model that does not answer, and CapabilityError, naming the alternatives, for one
    that cannot do what an explainer, simulator or scorer needs.
    """
    explaining, simulating = study.explaining_needs & LLM_NEEDS, study.simulating_needs & LLM_NEEDS
    if study.simulating_llm == study.llm:
        explaining, simulating = explaining | simulating, frozenset[Capability]()
    if explaining:
        await check_llm(llm.open(study.llm, progress=progress), explaining)
    if simulating:
        await check_llm(llm.open(study.simulating_llm, progress=progress, beside=study.llm), simulating)
    for spec in study.simulators.values():
        if isinstance(spec, AllAtOnce):
            model = llm.open(study.simulating_llm, progress=progress, beside=study.llm)
            if isinstance(model, LocalLLM):
                LocalSimulator(model, layout=spec.layout)  # refuses what it cannot read
    for spec in study.encoders:
        encoders.open(spec, progress=progress)


async def check_llm(llm: LLM, needs: Collection[Capability]) -> None:
    """Raise LLMError, or CapabilityError with the alternatives, unless the model can do what is needed."""
    if "reply" in needs:
        await llm.check()
    try:
        if "prompt_logprobs" in needs and not isinstance(llm, LocalLLM):
            if not isinstance(llm, PromptScorer):
                raise CapabilityError(f"{llm.identity} gives no log-probabilities of prompts")
            await llm.probe()
        if "next_token" in needs:
            if not isinstance(llm, NextTokenScorer):
                raise CapabilityError(f"{llm.identity} gives no log-probabilities of its answers")
            await llm.probe_next_token()
    except CapabilityError as error:
        raise CapabilityError(f"{error}. {await _alternatives(llm)}") from error


async def _alternatives(llm: LLM) -> str:
    """Return what a study may ask instead of what its model cannot do."""
    found = await llm.capabilities() if isinstance(llm, Probed) else Capabilities(chat=True)
    names = ", ".join(simulators_that_work(found.fulfilled))
    return (
        f'It can do: {names}. Name one of those under the study\'s simulators, or set provider = "local" in'
        " [llm] or [simulator_llm], or use a server such as vLLM, which can do them all"
    )
