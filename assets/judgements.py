"""Judgements: single excerpts held against the explanations, by an LLM or a sentence encoder."""

import asyncio

import dagster as dg
import polars as pl

from assets.stage import LLM_RETRIES, ins, per_layer, plain_failures, stage
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study

_LINEAGE = {
    "explanation_id": (("explanations", "explanation_id"),),
    "sequence_id": (("neuron_records", "sequence_id"),),
    "split": (("neuron_records", "split"),),
    "label": (("neuron_records", "activations"),),
    "answer": (("explanations", "text"), ("corpus", "token_ids")),
}


def judgements(study: Study) -> dg.AssetsDefinition:
    """Return the asset `judgements` of a study that names a judging scorer."""

    @stage(
        study,
        "judgements",
        description="Each explanation held against firing and silent excerpts that its explainer never saw,"
        " and against another neuron's as the control; answers that cannot be read are rows too.",
        kinds={study.simulating_llm.provider if study.simulating_llm.served else "huggingface", "polars"},
        tables=("judgements",),
        lineage=_LINEAGE,
        pool="llm",
        ins=ins(study, "corpus", "neuron_records", "explanations"),
        **per_layer(study, one_run=False),
    )
    def asset(
        corpus: dict[str, pl.DataFrame],
        neuron_records: pl.DataFrame,
        explanations: pl.DataFrame,
        llm: dg.ResourceParam[LLMSource],
        encoders: dg.ResourceParam[EncoderSource],
        calls: dg.ResourceParam[CallStore],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        from neuroscribe.judge.stage import JudgedTables, judged_layer
        from neuroscribe.report.tallies import judgement_tally

        tables = JudgedTables(
            corpus["corpus/sequences"], corpus["corpus/vocabulary"], neuron_records, explanations
        )
        with plain_failures(retries=LLM_RETRIES):
            frame = asyncio.run(
                judged_layer(study, tables, llm=llm, encoders=encoders, calls=calls, progress=progress)
            )
        return dg.MaterializeResult(value=frame, metadata=judgement_tally(frame))

    return asset
