"""Opens Dagster's instance, in which every run and materialisation is on record."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from filelock import Timeout
from sqlalchemy.exc import SQLAlchemyError
from yaml import YAMLError

from dagster_project.environments import Environment, use_dagster_home
from dagster_project.history_errors import history_error, settings_error
from dagster_project.postgres_errors import postgres_errors, unwrapped
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
    except (dg.DagsterInvalidConfigError, YAMLError) as error:
        file, template = environment.dagster_home / "dagster.yaml", "deploy/dagster.yaml"
        raise settings_error(error, file, template) from error
    except Exception as error:
        found = unwrapped(error)
        if not isinstance(found, OSError | SQLAlchemyError):
            raise
        raise history_error(found, environment.dagster_home) from error


def _opened(environment: Environment) -> dg.DagsterInstance:
    """Return the folder's instance; while one process makes its databases, others wait."""
    with postgres_errors(environment.dagster_home):
        try:
            with locked(environment.dagster_home / ".opening.lock", wait_s=_TURN_S):
                return dg.DagsterInstance.get()
        except Timeout:  # held by who does not end
            return dg.DagsterInstance.get()
