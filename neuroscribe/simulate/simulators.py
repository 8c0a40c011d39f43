"""Builds the simulators that a study names from the models it was given."""

from collections.abc import Callable, Mapping

import polars as pl

from neuroscribe.errors import CapabilityError, StudyError
from neuroscribe.local_llm import LocalLLM
from neuroscribe.ports import LLM, CallStore, Progress, PromptScorer, Simulator, TextEncoder
from neuroscribe.simulate.echoed import EchoedSimulator
from neuroscribe.simulate.embedding import EmbeddingSimulator
from neuroscribe.simulate.local import LocalSimulator
from neuroscribe.simulate.stage import SimulatedTables, layer_simulations
from neuroscribe.sources import EncoderSource, LLMSource
from neuroscribe.studies import Embedding, Study


async def simulated_layer(
    study: Study,
    tables: SimulatedTables,
    *,
    llm: LLMSource,
    encoders: EncoderSource,
    calls: CallStore,
    progress: Progress,
) -> pl.DataFrame:
    """Return the SIMULATIONS of one layer; models are opened only if a simulator of the study needs them."""
    reads_llm = any(not isinstance(spec, Embedding) for spec in study.simulators.values())
    simulators = await simulators_of(
        study,
        llm=llm.open(study.llm, progress=progress) if reads_llm else None,
        encoder=lambda spec: encoders.open(spec, progress=progress),
    )
    return await layer_simulations(study, tables, simulators=simulators, calls=calls, progress=progress)


async def simulators_of(
    study: Study, *, llm: LLM | None, encoder: Callable[[Embedding], TextEncoder]
) -> Mapping[str, Simulator]:
    """Return the study's simulators by name.

    A server is probed first; raises CapabilityError, before anything is spent, if it cannot do what the
    study's simulator needs.
    """
    built: dict[str, Simulator] = {}
    for name, spec in study.simulators.items():
        match spec:
            case Embedding():
                built[name] = EmbeddingSimulator(encoder(spec))
            case _:
                built[name] = await _all_at_once(study, llm)
    return built


async def _all_at_once(study: Study, llm: LLM | None) -> Simulator:
    if llm is None:
        raise StudyError(f"study {study.name}: the all_at_once simulator needs an LLM; complete [llm]")
    if isinstance(llm, LocalLLM):
        return LocalSimulator(llm)
    if isinstance(llm, PromptScorer):
        await llm.probe()
        return EchoedSimulator(llm)
    raise CapabilityError(
        f"{llm.identity} gives no log-probabilities of prompts, which the all_at_once simulator reads; use"
        ' provider = "local" in [llm], or only the embedding simulator'
    )
