"""Scores: how far each explanation can be trusted."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.evidence import evidence_by_layer
from assets.layers import OfLayer
from assets.stage import stage, table_metadata
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study


def scores(study: Study) -> dg.AssetsDefinition:
    """Return the asset `scores` of a study."""

    @stage(
        study,
        "scores",
        description="Agreement of simulation and truth, estimated for the whole corpus, and what the study's"
        " other scorers found, per explanation, scorer, split and regime, with interval, ceiling and"
        " controls; undefined scores are null with their reason.",
        kinds={"polars", "parquet"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        encoders: dg.ResourceParam[EncoderSource],
        progress: dg.ResourceParam[Progress],
        **inputs: Any,
    ) -> Iterator[OfLayer]:
        from neuroscribe.report.gaps import gaps
        from neuroscribe.report.pictures import data_uri_markdown, score_histogram_png
        from neuroscribe.report.score_page import score_page, score_rows
        from neuroscribe.report.summary import scorer_table
        from neuroscribe.report.tallies import score_tally, tokens_per_scored_neuron
        from neuroscribe.report.trace.command import best_traced
        from neuroscribe.score.comparisons import MEANS, layer_means
        from neuroscribe.score.stage import scored_layer

        for evidence in evidence_by_layer(study, context, inputs):
            frame = scored_layer(evidence, encoders=encoders, progress=progress)
            lost = gaps(study, evidence.tables["explanations"], frame)
            page = score_page(evidence, frame, encoders=encoders, progress=progress)
            picture = data_uri_markdown(score_histogram_png(frame), "distribution of the scores")
            shown = {
                **score_tally(study, frame),
                **best_traced(study, frame),
                MEANS: layer_means(study, frame),
                **({"gaps": table_metadata(lost)} if len(lost) else {}),
                "scored": table_metadata(score_rows(evidence, frame)),
                "shown": dg.MetadataValue.md(page),
                "by_scorer": table_metadata(scorer_table(study, frame)),
                "tokens_per_scored_neuron": table_metadata(tokens_per_scored_neuron(evidence, frame)),
                "distribution": dg.MetadataValue.md(picture),
            }
            yield OfLayer(evidence.layer, frame, shown)

    return asset
