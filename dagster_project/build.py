"""Puts studies, assets and resources together; `definitions.py` is what Dagster loads."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

# Partitioned checks are in preview and backfill policies in beta; the Dagster release is pinned.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from assets.activations import activations  # noqa: E402 - the filters must be set before assets are defined
from assets.checks import score_checks  # noqa: E402
from assets.connections import connections  # noqa: E402
from assets.corpus import corpus  # noqa: E402
from assets.explanations import explanations  # noqa: E402
from assets.neuron_dataset import neuron_dataset  # noqa: E402
from assets.neuron_records import neuron_records  # noqa: E402
from assets.scores import scores  # noqa: E402
from assets.simulations import simulations  # noqa: E402
from assets.token_lookup import token_lookup  # noqa: E402
from dagster_project.automation import nightly  # noqa: E402
from dagster_project.environments import Environment  # noqa: E402
from dagster_project.jobs import study_jobs  # noqa: E402
from neuroscribe.studies import Study  # noqa: E402

STAGES = (
    corpus, activations, neuron_records, token_lookup, connections,
    explanations, simulations, scores, neuron_dataset,
)  # fmt: skip


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
        assets=[stage(study) for stage in STAGES],
        asset_checks=[score_checks(study)],
        jobs=list(jobs.values()),
        schedules=nightly(study, jobs),
    )
