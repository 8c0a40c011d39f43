"""Scores: how far each explanation can be trusted."""

import dagster as dg
import polars as pl

from assets.stage import ins, per_layer, plain_failures, stage, table_metadata
from neuroscribe.studies import Study

_LINEAGE = {
    "explanation_id": (("explanations", "explanation_id"),),
    "explainer": (("explanations", "explainer"),),
    "value": (("simulations", "simulated"), ("neuron_records", "activations")),
    "control": (("simulations", "simulated"), ("neuron_records", "activations")),
    "ceiling": (("token_lookup", "mean"), ("neuron_records", "activations"), ("corpus", "token_ids")),
}


def scores(study: Study) -> dg.AssetsDefinition:
    """Return the asset `scores` of a study."""

    @stage(
        study,
        "scores",
        description="Correlation of simulation and truth per explanation, scorer, split and regime,"
        " with interval,"
        " token-lookup ceiling and shuffled control; undefined scores are null with their reason.",
        kinds={"polars", "parquet"},
        tables=("scores",),
        lineage=_LINEAGE,
        ins=ins(study, "corpus", "neuron_records", "token_lookup", "explanations", "simulations"),
        **per_layer(study, one_run=False),
    )
    def asset(
        corpus: dict[str, pl.DataFrame],
        neuron_records: pl.DataFrame,
        token_lookup: pl.DataFrame,
        explanations: pl.DataFrame,
        simulations: pl.DataFrame,
    ) -> dg.MaterializeResult:
        from neuroscribe.publish.pictures import data_uri_markdown, score_histogram_png
        from neuroscribe.publish.summary import scorer_table
        from neuroscribe.publish.tallies import score_tally
        from neuroscribe.score.stage import LayerResults, scored

        results = LayerResults(
            explanations, simulations, neuron_records, token_lookup, corpus["corpus/sequences"]
        )
        with plain_failures():
            frame = scored(study, results)
        picture = data_uri_markdown(score_histogram_png(frame), "distribution of the scores")
        return dg.MaterializeResult(
            value=frame,
            metadata={
                **score_tally(study, frame),
                "by_scorer": table_metadata(scorer_table(frame)),
                "distribution": dg.MetadataValue.md(picture),
            },
        )

    return asset
