"""What a run found, as text for the terminal."""

from collections.abc import Mapping, Sequence

from dagster_project.environments import Environment
from neuroscribe.studies import Study
from resources.tables import Tables


def outcome(study: Study, environment: Environment, *, layers: Sequence[int], seconds: Mapping[int, float]) -> str:
    """Return the report of a study's layers and what to type next."""
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    return str((study.name, layers, seconds, tables))
