"""Builds the simulators that a study names from the models it was given."""

from collections.abc import Mapping

import polars as pl

from neuroscribe.errors import CapabilityError
from neuroscribe.local_llm import LocalLLM
from neuroscribe.ports import LLM, CallStore, NextTokenScorer, Progress, PromptScorer, Simulator
from neuroscribe.preflight import LLM_NEEDS, check_llm
from neuroscribe.simulate.echoed import EchoedSimulator
from neuroscribe.simulate.embedding import EmbeddingSimulator
from neuroscribe.simulate.local import LocalSimulator
from neuroscribe.simulate.matching_words import MatchingWordsLayout
from neuroscribe.simulate.one_at_a_time import OneAtATimeSimulator
from neuroscribe.simulate.replied import RepliedSimulator
from neuroscribe.simulate.specs import (
    AllAtOnce,
    Embedding,
    MatchingWords,
    OneAtATime,
    SimulatorSpec,
    Structured,
)
from neuroscribe.simulate.stage import SimulatedTables, layer_simulations
from neuroscribe.simulate.structured import StructuredLayout
from neuroscribe.sources import EncoderSource, LLMSource
from neuroscribe.studies import Study


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
