"""Ablations: the subject run with neurons replaced by what the explanations let one predict."""

import asyncio

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.sources import SubjectSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.spec import Study


def ablations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `ablations` of a study that names an ablation scorer."""

    @stage(
        study,
        "ablations",
        description="Divergence of the subject's predictions when a neuron is replaced by its calibrated"
        " simulation, and by its mean, on the sequences by which it is scored.",
        kinds={"pytorch", "polars"},
        pool="gpu",
    )
    def asset(
        context: dg.AssetExecutionContext,
        corpus: dict[str, pl.DataFrame],
        activations: pl.DataFrame,
        neuron_records: pl.DataFrame,
        token_lookup: pl.DataFrame,
        explanations: pl.DataFrame,
        simulations: pl.DataFrame,
        subject: dg.ResourceParam[SubjectSource],
        calls: dg.ResourceParam[CallStore],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        from neuroscribe.ablate.stage import AblatedTables, ablated_layer

        (layer,) = selected_layers(context)
        tables = AblatedTables(
            corpus["corpus/sequences"],
            activations,
            neuron_records,
            token_lookup,
            explanations,
            simulations,
        )
        model = subject.open(study.subject, progress=progress)
        frame = asyncio.run(
            ablated_layer(study, layer, tables, subject=model, calls=calls, progress=progress)
        )
        return dg.MaterializeResult(
            value=frame,
            metadata={
                "ablations": len(frame),
                "sequences": frame["sequence_id"].n_unique(),
                "device": str(model.device),
            },
        )

    return asset
