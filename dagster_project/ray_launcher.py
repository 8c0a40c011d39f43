"""Whole runs as Ray jobs: dagster-ray's launcher, of which a run's tags can set nothing but what it asks for.

Named in dagster.yaml (deploy/dagster.yaml has it as a comment). Whoever reaches the web page gives a run its
tags. As dagster-ray reads them, they could have a variable of this process, such as a key, shown in Ray's
dashboard, or name the program that a job begins with.
"""

import json
from collections.abc import Mapping

import dagster as dg
from dagster_ray import RayRunLauncher
from dagster_ray.configs import USER_DEFINED_RAY_KEY

from dagster_project.environments import Environment
from dagster_project.ray_steps import told_to_jobs
from neuroscribe.errors import StudyError

REQUESTS = ("num_cpus", "num_gpus", "memory", "resources")


class RayLauncher(RayRunLauncher):
    """Submits each run as a Ray job, which is told where studies and results are."""

    def _launch_ray_job(self, submission_id: str, entrypoint: str, run: dg.DagsterRun) -> None:
        check_tags(run.tags)
        given = self.runtime_env or {}
        told = told_to_jobs(Environment.read()) | given.get("env_vars", {})
        self.runtime_env = {**given, "env_vars": told}
        super()._launch_ray_job(submission_id, entrypoint, run)


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise StudyError where a run's tags tell Ray more than what the run asks for."""
    try:
        settings = json.loads(tags.get(USER_DEFINED_RAY_KEY, "{}"))
        others = sorted(settings.keys() - set(REQUESTS))
    except (ValueError, AttributeError):
        others = ["no JSON object"]
    if others:
        raise StudyError(
            f"the run's tag {USER_DEFINED_RAY_KEY} holds {', '.join(others)}; it may hold"
            f" {', '.join(REQUESTS)}, and all else is set in dagster.yaml"
        )
