"""Named selections of a study's assets: capture everything, sample layers, explain them, publish."""

from typing import Any

import dagster as dg

from assets.stage import key
from dagster_project.automation import STUDY
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, Phase, stages_of

AssetJob = Any
"""A job that Dagster resolves when it loads the definitions; it exports no name for the type."""
_DESCRIPTIONS: dict[Phase, str] = {
    "capture": "All selected layers in one pass of the corpus.",
    "sample": "All activations of the sampled neurons of the layers to explain, in one more pass.",
    "explain": "Explain, simulate, score and check layers, at most eight in a run.",
    "publish": "Gather all tables into the dataset.",
}


def study_jobs(study: Study) -> dict[str, AssetJob]:
    """Return the study's jobs by what they do: one for every phase, with the checks on its assets."""
    return {
        phase: dg.define_asset_job(
            f"{study.name}_{phase}",
            selection=dg.AssetSelection.assets(
                *(key(study, name) for name in stages_of(study) if STAGES[name].phase == phase)
            ),
            description=description,
            tags={STUDY: study.name},
        )
        for phase, description in _DESCRIPTIONS.items()
    }
