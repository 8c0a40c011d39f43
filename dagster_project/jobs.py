"""Named selections of a study's assets: capture everything, explain a layer, publish."""

from typing import Any

import dagster as dg

from assets.stage import key
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import stages_of

AssetJob = Any
"""A job that Dagster resolves when it loads the definitions; it exports no name for the type."""
CAPTURE = ("corpus", "activations", "neuron_records", "token_lookup", "connections")
EXPLAIN = ("explanations", "simulations", "judgements", "ablations", "scores")
PUBLISH = ("neuron_dataset",)


def study_jobs(study: Study) -> dict[str, AssetJob]:
    """Return the study's jobs by what they do."""
    return {
        "capture": _job(study, "capture", CAPTURE, "All selected layers in one pass of the corpus."),
        "explain": _job(study, "explain", EXPLAIN, "Explain, simulate, score and check one layer."),
        "publish": _job(study, "publish", PUBLISH, "Gather all tables into the dataset."),
    }


def _job(study: Study, name: str, assets: tuple[str, ...], description: str) -> AssetJob:
    there = [asset for asset in assets if asset in stages_of(study)]
    selected = dg.AssetSelection.assets(*(key(study, asset) for asset in there))
    checks = selected | dg.AssetSelection.checks_for_assets(key(study, "scores"))
    return dg.define_asset_job(
        f"{study.name}_{name}",
        selection=checks if "scores" in assets else selected,
        description=description,
        executor_def=dg.in_process_executor,
    )
