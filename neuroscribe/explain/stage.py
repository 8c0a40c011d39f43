"""Explains the sampled neurons of one layer from the tables before it."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from neuroscribe.errors import CapabilityError
from neuroscribe.evidence.exemplars import training_exemplars
from neuroscribe.evidence.sample import sampled_neurons, set_aside
from neuroscribe.explain.evidence import LayerEvidence
from neuroscribe.explain.explainers import explained
from neuroscribe.ports.models import LLM
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.explainers import LogitLens, Showing
from neuroscribe.study.spec import Study
from neuroscribe.text.corpus import token_bytes_by_sequence


@dataclass(frozen=True)
class LayerTables:
    """One layer's tables, as its explainers read them."""

    sequences: pl.DataFrame
    vocabulary: pl.DataFrame
    statistics: pl.DataFrame
    records: pl.DataFrame
    lookup: pl.DataFrame
    connections: pl.DataFrame


@dataclass(frozen=True)
class ExplainedLayer:
    """What became of a layer's sample."""

    explanations: pl.DataFrame
    """EXPLANATIONS."""
    set_aside: pl.DataFrame
    """Neurons that no call was made about, with their reasons: see `neuroscribe.capture.plan.set_aside`."""


async def layer_explanations(
    study: Study, layer: int, tables: LayerTables, *, llm: LLM | None, calls: CallStore, progress: Progress
) -> ExplainedLayer:
    """Return the explanations of a layer's sample; dead neurons are set aside before any call.

    What can be known is checked before the first prompt: a wrong key, an absent server, and an explainer
    that needs weights whose meaning is not known for the subject's architecture (CapabilityError).
    """
    _check_connections(study, layer, tables.connections)
    if llm is not None:
        await llm.check()
    shown = evidence(study, layer, tables)
    made = await explained(study, shown, llm=llm, calls=calls, progress=progress)
    return ExplainedLayer(made, set_aside(study, layer, tables.statistics))


def evidence(study: Study, layer: int, tables: LayerTables) -> LayerEvidence:
    """Return what the explainers may see of the sample: exemplars, held-out token means, output weights."""
    neurons = sampled_neurons(study, layer, tables.statistics)
    own = tables.records.filter(pl.col("neuron").is_in([neuron for neuron, _ in neurons]))
    most = max((s.excerpts for s in study.explainers.values() if isinstance(s, Showing)), default=0)
    shown = [training_exemplars(own, neuron, most)["sequence_id"] for neuron in neurons]
    ids = {sequence for series in shown for sequence in series.to_list()}
    tokens: Mapping[int, tuple[bytes, ...]] = token_bytes_by_sequence(
        tables.sequences, tables.vocabulary, ids
    )
    return LayerEvidence(layer, neurons, own, tables.lookup, tables.connections, tokens, tables.vocabulary)


def _check_connections(study: Study, layer: int, connections: pl.DataFrame) -> None:
    """Raise CapabilityError where an explainer needs output weights that are not known."""
    for name, spec in study.explainers.items():
        if isinstance(spec, LogitLens) and connections.is_empty():
            raise CapabilityError(
                f"study {study.name}: explainer {name!r} shows what neurons promote by their weights, and the"
                f" table connections of layer {layer} is empty, because the formula is not known for"
                f' {study.subject.model}; use kind = "highlights"'
            )
