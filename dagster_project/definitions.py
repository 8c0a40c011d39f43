"""The code location: every study of the studies folder side by side, over one set of resources."""

from dagster_project.build import location_defs
from dagster_project.environments import Environment, settle
from neuroscribe.kinds import read_studies

_ENVIRONMENT = Environment.read()
settle(_ENVIRONMENT)
defs = location_defs(read_studies(_ENVIRONMENT.studies), environment=_ENVIRONMENT)
