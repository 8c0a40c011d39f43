"""Named selections of a study's assets: capture everything, explain a layer, publish."""

import dagster as dg

from assets.partitions import layer_partitions
from assets.stage import key
from neuroscribe.studies import Study

CAPTURE = ("corpus", "activations", "neuron_records", "token_lookup", "connections")
EXPLAIN = ("explanations", "simulations", "scores")
PUBLISH = ("neuron_dataset",)


def study_jobs(study: Study) -> dict[str, dg.JobDefinition]:
    """Return the study's jobs by what they do."""
    return {
        "capture": _job(study, "capture", CAPTURE, "All selected layers in one pass of the corpus."),
        "explain": _job(study, "explain", EXPLAIN, "Explain, simulate, score and check one layer."),
        "publish": _job(study, "publish", PUBLISH, "Gather all tables into the dataset."),
    }


def _job(study: Study, name: str, assets: tuple[str, ...], description: str) -> dg.JobDefinition:
    selected = dg.AssetSelection.assets(*(key(study, asset) for asset in assets))
    checks = selected | dg.AssetSelection.checks_for_assets(key(study, "scores"))
    job = dg.define_asset_job(
        f"{study.name}_{name}",
        selection=checks if "scores" in assets else selected,
        partitions_def=None if name == "publish" else layer_partitions(study),
        description=description,
        executor_def=dg.in_process_executor,
    )
    return job  # pyright: ignore[reportReturnType]  - resolved when the definitions are
