"""Explains the sampled neurons of one layer from the tables before it."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from neuroscribe.corpus import token_bytes_by_sequence
from neuroscribe.explain.explainers import LayerEvidence, explained, training_exemplars
from neuroscribe.explain.specs import Asking
from neuroscribe.ports import LLM, CallStore, Progress
from neuroscribe.sampling import sampled_neurons
from neuroscribe.studies import Study


@dataclass(frozen=True)
class LayerTables:
    """One layer's tables, as its explainers read them."""

    sequences: pl.DataFrame
    vocabulary: pl.DataFrame
    statistics: pl.DataFrame
    records: pl.DataFrame
    lookup: pl.DataFrame


async def layer_explanations(
    study: Study, layer: int, tables: LayerTables, *, llm: LLM | None, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the EXPLANATIONS of a layer's sample; dead neurons are left out before any call.

    The LLM is checked first: a wrong key or an absent server ends the run before the first prompt.
    """
    if llm is not None:
        await llm.check()
    return await explained(study, evidence(study, layer, tables), llm=llm, calls=calls, progress=progress)


def evidence(study: Study, layer: int, tables: LayerTables) -> LayerEvidence:
    """Return what the explainers may see: training exemplars and held-out token means of the sample."""
    neurons = sampled_neurons(study, layer, tables.statistics)
    own = tables.records.filter(pl.col("neuron").is_in([neuron for neuron, _ in neurons]))
    most = max((s.excerpts for s in study.explainers.values() if isinstance(s, Asking)), default=0)
    shown = [training_exemplars(own, neuron, most)["sequence_id"] for neuron in neurons]
    ids = {sequence for series in shown for sequence in series.to_list()}
    tokens: Mapping[int, tuple[bytes, ...]] = token_bytes_by_sequence(
        tables.sequences, tables.vocabulary, ids
    )
    return LayerEvidence(layer, neurons, own, tables.lookup, tokens, tables.vocabulary)
