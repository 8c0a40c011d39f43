"""Activations: all selected layers captured in one pass of the corpus through the subject."""

import dagster as dg
import polars as pl

from assets.partitions import selected_layers
from assets.stage import stage
from neuroscribe.ports.sources import SubjectSource
from neuroscribe.ports.stores import Progress, TensorStore
from neuroscribe.study.spec import Study, layer_key


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
        corpus: dict[str, pl.DataFrame],
        subject: dg.ResourceParam[SubjectSource],
        tensors: dg.ResourceParam[TensorStore],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        from neuroscribe.capture.stage import captured
        from neuroscribe.report.pictures import activation_statistics_png, data_uri_markdown
        from neuroscribe.subject.made_by import made_by

        model = subject.open(study.subject, progress=progress)
        done = captured(
            study,
            model,
            corpus["corpus/sequences"],
            layers=selected_layers(context),
            store=tensors,
            progress=progress,
        )
        made = made_by(model, earlier_layers=done.before)
        everything = pl.concat(done.statistics.values())
        picture = activation_statistics_png(everything)
        return dg.MaterializeResult(
            value={layer_key(layer): frame for layer, frame in done.statistics.items()},
            metadata={
                "neurons": len(everything),
                "dead": int(everything["dead"].sum()),
                "near_dead": int(everything["near_dead"].sum()),
                "tokens_per_neuron": int(everything["n_tokens"][0]),
                "reused_finished_capture": len(done.before) == len(done.statistics),
                "layers_captured_anew": list(done.anew),
                "subject": f"{model.name}@{model.revision}",
                "made_by": str(made),
                "neuroscribe/provenance": {"made_by": vars(made)},
                "device": str(model.device),
                "dtype": str(model.dtype),
                "batch_tokens": model.batch_tokens,
                "statistics": dg.MetadataValue.md(data_uri_markdown(picture, "statistics of the neurons")),
            },
        )

    return asset
