"""Puts studies, assets and resources together; `definitions.py` is what Dagster loads."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from assets.ablations import ablations
from assets.activations import activations
from assets.checks import score_checks
from assets.connections import connections
from assets.corpus import corpus
from assets.explanations import explanations
from assets.judgements import judgements
from assets.neuron_dataset import neuron_dataset
from assets.neuron_records import neuron_records
from assets.scores import scores
from assets.simulations import simulations
from assets.token_lookup import token_lookup
from dagster_project.automation import nightly
from dagster_project.environments import Environment
from dagster_project.jobs import study_jobs
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import stages_of

STAGES = (
    corpus, activations, neuron_records, token_lookup, connections,
    explanations, simulations, judgements, ablations, scores, neuron_dataset,
)  # fmt: skip
"""The makers of all assets, each named after its stage."""


def build_defs(
    studies: Iterable[Study],
    *,
    environment: Environment,
    resource_overrides: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Return the definitions of some studies; `resource_overrides` replaces adapters by name."""
    parts = [_study_defs(study) for study in studies]
    shared = dg.Definitions(
        resources={**environment.resources(), **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(*parts, shared)


def _study_defs(study: Study) -> dg.Definitions:
    jobs = study_jobs(study)
    return dg.Definitions(
        assets=[stage(study) for stage in STAGES if stage.__name__ in stages_of(study)],
        asset_checks=[score_checks(study)],
        jobs=list(jobs.values()),
        schedules=nightly(study, jobs),
    )
