"""Builds the simulators that a study names from the models it was given."""

from collections.abc import Mapping, Sequence

import polars as pl

from neuroscribe.errors import CapabilityError
from neuroscribe.llm.capabilities import LLM_NEEDS, check_llm
from neuroscribe.llm.local import LocalLLM
from neuroscribe.ports.models import LLM, NextTokenScorer, PromptScorer, Simulator
from neuroscribe.ports.replies import as_text
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.simulate import one_at_a_time
from neuroscribe.simulate.all_at_once import EchoedSimulator, LocalSimulator
from neuroscribe.simulate.embedding import EmbeddingSimulator
from neuroscribe.simulate.matching_words import MatchingWordsLayout
from neuroscribe.simulate.one_at_a_time import OneAtATimeSimulator
from neuroscribe.simulate.prompts import hidden_prompt
from neuroscribe.simulate.replied import RepliedSimulator
from neuroscribe.simulate.stage import SimulatedTables, layer_simulations
from neuroscribe.simulate.structured import StructuredLayout
from neuroscribe.study.sections import Capability
from neuroscribe.study.simulators import (
    AllAtOnce,
    Embedding,
    MatchingWords,
    OneAtATime,
    SimulatorSpec,
    Structured,
)
from neuroscribe.study.spec import Study


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


async def simulated_layer(
    study: Study,
    tables: SimulatedTables,
    *,
    llm: LLMSource,
    encoders: EncoderSource,
    calls: CallStore,
    progress: Progress,
) -> pl.DataFrame:
    """Return the SIMULATIONS of one layer; models are opened only if a simulator of the study needs them.

    Raises CapabilityError or LLMError, before anything is spent, for a model that cannot do what is needed.
    """
    simulators = await opened_simulators(study, llm=llm, encoders=encoders, calls=calls, progress=progress)
    return await layer_simulations(study, tables, simulators=simulators, calls=calls, progress=progress)


async def opened_simulators(
    study: Study, *, llm: LLMSource, encoders: EncoderSource, calls: CallStore, progress: Progress
) -> Mapping[str, Simulator]:
    """Return the study's simulators by name, ready to be asked.

    Raises CapabilityError or LLMError, before anything is spent, for a model that cannot do what is needed.
    """
    model: LLM | None = None
    if needs := study.simulating_needs & LLM_NEEDS:
        model = llm.open(study.simulating_llm, progress=progress, beside=study.llm)
        await check_llm(model, needs)
    return {
        name: EmbeddingSimulator(encoders.open(spec, progress=progress))
        if isinstance(spec, Embedding)
        else asking_simulator(spec, model, calls)
        for name, spec in study.simulators.items()
    }


def asking_simulator(spec: SimulatorSpec, llm: LLM | None, calls: CallStore) -> Simulator:
    """Return a simulator that asks a model; raises CapabilityError where the model cannot be asked so."""
    match spec:
        case MatchingWords() if llm is not None:
            return RepliedSimulator(llm, MatchingWordsLayout())
        case Structured() if llm is not None:
            return RepliedSimulator(llm, StructuredLayout())
        case OneAtATime() if isinstance(llm, NextTokenScorer):
            return OneAtATimeSimulator(llm, calls)
        case AllAtOnce() if isinstance(llm, LocalLLM):
            return LocalSimulator(llm, layout=spec.layout)
        case AllAtOnce() if isinstance(llm, PromptScorer):
            return EchoedSimulator(llm)
        case _:
            raise CapabilityError(f"the simulator {spec.kind} cannot work with {llm and llm.identity}")


Request = tuple[str, int]
"""A prompt as running text, and the most tokens that its answer may take."""


def requests(spec: SimulatorSpec, explanation: str, tokens: Sequence[bytes]) -> list[Request]:
    """Return the requests that read one sequence; as many as `spec.calls` says.

    A model in this process is shown about as much text by `all_at_once` as a server.
    """
    match spec:
        case AllAtOnce():
            return [(hidden_prompt(explanation, tokens)[0], 1)]
        case OneAtATime():
            return [(as_text(messages), 1) for messages in one_at_a_time.prompts(explanation, tokens)]
        case MatchingWords() | Structured():
            layout = MatchingWordsLayout() if isinstance(spec, MatchingWords) else StructuredLayout()
            return [(as_text(layout.messages(explanation, tokens)), layout.longest_answer(tokens))]
        case _:
            return []
