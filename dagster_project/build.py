"""Puts studies, assets and resources together; `definitions.py` is what Dagster loads."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import dagster as dg

from assets.checks import description_checks, score_checks
from dagster_project.automation import nightly
from dagster_project.broken import broken_defs
from dagster_project.environments import Environment
from dagster_project.executors import executor
from dagster_project.jobs import study_jobs
from dagster_project.sealed import sealed
from neuroscribe.errors import NeuroscribeError
from neuroscribe.study.files import Studies
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import stages_of


def build_defs(
    studies: Iterable[Study],
    *,
    environment: Environment,
    resource_overrides: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Return the definitions of some studies; `resource_overrides` replaces adapters by name."""
    parts = [_study_defs(study) for study in studies]
    return dg.Definitions.merge(*parts, _shared(environment, resource_overrides or {}))


def location_defs(studies: Studies, *, environment: Environment) -> dg.Definitions:
    """Return the definitions of a folder's studies; one that is broken is shown and takes no other down."""
    parts: list[dg.Definitions] = []
    broken: dict[str, NeuroscribeError] = dict(studies.broken)
    for study in studies.values():
        try:
            parts.append(_study_defs(study))
        except NeuroscribeError as error:
            broken[study.name] = error
    return dg.Definitions.merge(
        *parts, broken_defs(broken, sound=studies.keys() - broken.keys()), _shared(environment, {})
    )


def _shared(environment: Environment, overrides: Mapping[str, Any]) -> dg.Definitions:
    resources = sealed({**environment.resources(), **overrides})
    return dg.Definitions(resources=resources, executor=executor(environment))


def _study_defs(study: Study) -> dg.Definitions:
    jobs = study_jobs(study)
    return dg.Definitions(
        assets=[_asset(study, stage) for stage in stages_of(study)],
        asset_checks=[score_checks(study), description_checks(study)],
        jobs=list(jobs.values()),
        schedules=nightly(study, jobs),
    )


def _asset(study: Study, stage: str) -> dg.AssetsDefinition:
    """Return what the function named after a stage makes, in the module of the same name."""
    return getattr(import_module(f"assets.{stage}"), stage)(study)
