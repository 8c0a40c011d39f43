"""Opens Dagster's instance, in which every run and materialisation is on record."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from filelock import Timeout
from sqlalchemy.exc import DBAPIError
from yaml import YAMLError

from dagster_project.environments import Environment, use_dagster_home
from dagster_project.history_errors import history_error
from neuroscribe.errors import StoreError
from resources.store.locks import locked

_TURN_S = 120
"""How long to wait for another process to open the instance."""


@contextmanager
def history(environment: Environment, *, ephemeral: bool = False) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's instance, and explain when it cannot be written: what fails in a step is its result."""
    use_dagster_home(environment)
    try:
        with dg.DagsterInstance.ephemeral() if ephemeral else _opened(environment) as instance:
            yield instance
    except (OSError, DBAPIError) as error:
        raise history_error(error, environment.dagster_home) from error
    except (dg.DagsterInvalidConfigError, YAMLError) as error:
        raise StoreError(
            f"{environment.dagster_home}/dagster.yaml: Dagster cannot read it ({str(error).splitlines()[0]});"
            " correct it (deploy/dagster.yaml is the template), or remove it to get the template again"
        ) from error


def _opened(environment: Environment) -> dg.DagsterInstance:
    """Return the instance on disk; while one process makes its databases, others wait."""
    try:
        with locked(environment.dagster_home / ".opening.lock", wait_s=_TURN_S):
            return dg.DagsterInstance.get()
    except Timeout:  # held by who does not end
        return dg.DagsterInstance.get()
