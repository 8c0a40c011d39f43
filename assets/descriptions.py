"""Descriptions: what each neuron is described by, chosen on `valid` among all that was said of it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.evidence import evidence_by_layer
from assets.layers import OfLayer
from assets.stage import stage, table_metadata
from neuroscribe.study.spec import Study


def descriptions(study: Study) -> dg.AssetsDefinition:
    """Return the asset `descriptions` of a study."""

    @stage(
        study,
        "descriptions",
        description="What each neuron is described by: the explanation that is best on `valid` over all"
        " explainers and candidates, with its score on `test`, and how far it explains the neuron, in words.",
        kinds={"polars", "parquet"},
    )
    def asset(context: dg.AssetExecutionContext, **inputs: Any) -> Iterator[OfLayer]:
        from neuroscribe.describe.stage import described_layer
        from neuroscribe.report.described import DescribedTables
        from neuroscribe.report.neuron_page import description_rows, neuron_page
        from neuroscribe.report.pictures import data_uri_markdown, descriptions_png
        from neuroscribe.report.tallies import description_tally
        from neuroscribe.report.trace.command import best_traced

        for evidence in evidence_by_layer(study, context, inputs):
            frame = described_layer(evidence)
            names = ("neuron_records", "corpus/sequences", "corpus/vocabulary")
            tables = DescribedTables(frame, *(evidence.tables[name] for name in names))
            picture = data_uri_markdown(descriptions_png(frame), "scores against ceilings, with controls")
            shown = {
                **description_tally(frame),
                **best_traced(study, frame),
                "described": table_metadata(description_rows(frame)),
                "shown": dg.MetadataValue.md(neuron_page(tables)),
                "scores": dg.MetadataValue.md(picture),
            }
            yield OfLayer(evidence.layer, frame, shown)

    return asset
