"""The code location: every study of the studies folder side by side, over one set of resources."""

import sys

import dagster as dg

from dagster_project.build import shared_defs
from dagster_project.environments import ROOT, Environment, settle

_ENVIRONMENT = Environment.read()
settle(_ENVIRONMENT)
if _ENVIRONMENT.unguarded:
    sys.stderr.write(
        "warning: `dg dev` has no guard: every web page that you open meanwhile can launch runs;"
        " `make ui` has one\n"
    )
defs = dg.Definitions.merge(dg.load_from_defs_folder(path_within_project=ROOT), shared_defs(_ENVIRONMENT))
