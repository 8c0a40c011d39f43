"""Activations: all selected layers captured in one pass of the corpus through the subject."""

from collections.abc import Iterator, Mapping

import dagster as dg
import polars as pl

from assets.layers import OfLayer
from assets.partitions import layers_of_backfill, selected_layers
from assets.stage import stage
from neuroscribe.ports.sources import SubjectSource
from neuroscribe.ports.stores import Progress, TensorStore
from neuroscribe.study.spec import Study


def activations(study: Study) -> dg.AssetsDefinition:
    """Return the asset `activations` of a study."""

    @stage(
        study,
        "activations",
        description="Per layer: the retained activation tensors of every neuron (files beside the table) and"
        " statistics over all tokens. However many layers a run selects, the corpus goes"
        " through the subject once.",
        kinds={"pytorch", "huggingface"},
        pool="gpu",
    )
    def asset(
        context: dg.AssetExecutionContext,
        corpus: Mapping[str, pl.DataFrame],
        subject: dg.ResourceParam[SubjectSource],
        tensors: dg.ResourceParam[TensorStore],
        progress: dg.ResourceParam[Progress],
    ) -> Iterator[OfLayer]:
        from neuroscribe.capture.stage import captured
        from neuroscribe.report.pictures import activation_statistics_png, data_uri_markdown
        from neuroscribe.subject.made_by import made_by

        model = subject.open(study.subject, progress=progress)
        done = captured(
            study,
            model,
            corpus["corpus/sequences"],
            layers=selected_layers(context),
            beside=layers_of_backfill(context),
            store=tensors,
            progress=progress,
        )
        made = made_by(model, earlier_layers=done.before)
        for layer, frame in done.statistics.items():
            picture = activation_statistics_png(frame)
            shown = {
                "neurons": len(frame),
                "dead": int(frame["dead"].sum()),
                "near_dead": int(frame["near_dead"].sum()),
                "tokens_per_neuron": int(frame["n_tokens"][0]),
                "reused_finished_capture": layer in done.before,
                "layer_captured_anew": layer in done.anew,
                "layers_in_this_pass": done.in_pass,
                "subject": f"{model.name}@{model.revision}",
                "made_by": str(made),
                "device": str(model.device),
                "dtype": str(model.dtype),
                "batch_tokens": model.batch_tokens,
                "statistics": dg.MetadataValue.md(data_uri_markdown(picture, "statistics of the neurons")),
            }
            yield OfLayer(layer, frame, shown, {"made_by": vars(made)})

    return asset
