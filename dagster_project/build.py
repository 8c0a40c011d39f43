"""Puts studies, assets and resources together; `definitions.py` is what Dagster loads."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import dagster as dg

from assets.checks import study_checks
from dagster_project.automation import failure_alert, sensors, with_conditions
from dagster_project.broken import broken_defs
from dagster_project.environments import Environment
from dagster_project.executors import executor
from dagster_project.jobs import study_jobs
from dagster_project.sealed import sealed
from neuroscribe.errors import NeuroscribeError, StudyError
from neuroscribe.study.files import Studies
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import stages_of
from resources.alerts import Webhook
from resources.store.tables import Tables


def build_defs(
    studies: Iterable[Study],
    *,
    environment: Environment,
    resource_overrides: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Return the definitions of some studies; `resource_overrides` replaces adapters by name."""
    parts = [_study_defs(study, environment) for study in studies]
    return dg.Definitions.merge(*parts, shared_defs(environment, resource_overrides))


def folder_defs(studies: Studies, environment: Environment, *, checked: bool = False) -> dg.Definitions:
    """Return the graphs of a folder's studies; one that is broken is shown and takes no other down.

    Where they are `checked`, raises StudyError with the messages of all broken ones instead.
    """
    parts: list[dg.Definitions] = []
    broken: dict[str, NeuroscribeError] = dict(studies.broken)
    for study in studies.values():
        try:
            parts.append(_study_defs(study, environment))
        except NeuroscribeError as error:
            broken[study.name] = error
    if broken and checked:
        raise StudyError("\n".join(str(error) for error in broken.values()))
    return dg.Definitions.merge(*parts, broken_defs(broken, sound=studies.keys() - broken.keys()))


def shared_defs(environment: Environment, overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return what studies share: resources, of which `overrides` replaces some, executor and alerts."""
    resources = sealed({**environment.resources(), **(overrides or {})})
    alerts = [failure_alert(Webhook(environment.alert_url))] if environment.alert_url else []
    return dg.Definitions(resources=resources, executor=executor(environment), sensors=alerts)


def _study_defs(study: Study, environment: Environment) -> dg.Definitions:
    assets = [_asset(study, stage) for stage in stages_of(study)]
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    return dg.Definitions(
        assets=with_conditions(study, assets, tables, layers_per_night=environment.nightly_layers),
        asset_checks=study_checks(study),
        jobs=list(study_jobs(study).values()),
        sensors=sensors(study, endpoint_url=environment.endpoint_url),
    )


def _asset(study: Study, stage: str) -> dg.AssetsDefinition:
    """Return what the function named after a stage makes, in the module of the same name."""
    return getattr(import_module(f"assets.{stage}"), stage)(study)
