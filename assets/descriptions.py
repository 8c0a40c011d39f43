"""Descriptions: what each neuron is described by, chosen on `valid` among all that was said of it."""

from typing import Any

import dagster as dg

from assets.stage import layer_evidence, stage
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
    def asset(context: dg.AssetExecutionContext, **inputs: Any) -> dg.MaterializeResult:
        from neuroscribe.describe.stage import described_layer

        evidence = layer_evidence(study, context, inputs)
        frame = described_layer(evidence)
        return dg.MaterializeResult(value=frame, metadata={})

    return asset
