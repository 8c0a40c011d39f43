"""Connections: what each neuron reads and writes, by weight alone."""

from collections.abc import Iterator

import dagster as dg

from assets.layers import OfLayer
from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.sources import SubjectSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study


def connections(study: Study) -> dg.AssetsDefinition:
    """Return the asset `connections` of a study."""

    @stage(
        study,
        "connections",
        description="Tokens and neurons with the largest weights up and down stream of each neuron (logit"
        " lens); empty, with the reason, for architectures whose formula is not known.",
        kinds={"pytorch", "polars"},
        pool="gpu",
    )
    def asset(
        context: dg.AssetExecutionContext,
        subject: dg.ResourceParam[SubjectSource],
        progress: dg.ResourceParam[Progress],
    ) -> Iterator[OfLayer]:
        from neuroscribe.capture.connections import connections_of

        model = subject.open(study.subject, progress=progress)
        made = connections_of(model, layers=selected_layers(context), progress=progress)
        for layer, frame in made.frames.items():
            yield OfLayer(layer, frame, {"rows": len(frame), "refused": made.refused or "no"})

    return asset
