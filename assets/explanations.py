"""Explanations: the sample's neurons put into words."""

import asyncio

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from assets.stage import LLM_RETRIES, ins, per_layer, plain_failures, stage, table_metadata
from neuroscribe.ports.sources import LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study

_LINEAGE = {
    "neuron": (("neuron_records", "neuron"),),
    "polarity": (("neuron_records", "polarity"),),
    "sequence_ids": (("neuron_records", "sequence_id"),),
    "text": (
        ("neuron_records", "activations"),
        ("corpus", "token_ids"),
        ("token_lookup", "mean"),
        ("connections", "token_id"),
    ),
}
_NAMED = 100
"""Neurons set aside that are named one by one beside a materialisation; the counts are of all."""


def explanations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `explanations` of a study."""

    @stage(
        study,
        "explanations",
        description="Explanations by every explainer of the study, with prompt, reply, tokens and money;"
        " refusals and failures are rows too. Dead and near-dead neurons are set aside before any call.",
        kinds={study.llm.provider if study.llm.served else "huggingface", "polars"},
        tables=("explanations",),
        lineage=_LINEAGE,
        pool="llm",
        ins=ins(study, "corpus", "activations", "neuron_records", "token_lookup", "connections"),
        **per_layer(study, one_run=False),
    )
    def asset(
        context: dg.AssetExecutionContext,
        corpus: dict[str, pl.DataFrame],
        activations: pl.DataFrame,
        neuron_records: pl.DataFrame,
        token_lookup: pl.DataFrame,
        connections: pl.DataFrame,
        llm: dg.ResourceParam[LLMSource],
        calls: dg.ResourceParam[CallStore],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        from neuroscribe.explain.stage import LayerTables, layer_explanations
        from neuroscribe.report.tallies import explanation_tally

        (layer,) = selected_layers(context)
        tables = LayerTables(
            corpus["corpus/sequences"],
            corpus["corpus/vocabulary"],
            activations,
            neuron_records,
            token_lookup,
            connections,
        )
        with plain_failures(retries=LLM_RETRIES):
            model = llm.open(study.llm, progress=progress) if study.explaining_needs else None
            made = asyncio.run(
                layer_explanations(study, layer, tables, llm=model, calls=calls, progress=progress)
            )
        return dg.MaterializeResult(
            value=made.explanations,
            metadata={
                **explanation_tally(made.explanations, made.set_aside),
                "set_aside": table_metadata(made.set_aside.head(_NAMED)),
            },
        )

    return asset
