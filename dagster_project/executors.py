"""Where the steps of a run are computed, by NEUROSCRIBE_EXECUTOR: in the run's process, in others, or by Ray.

It holds for runs that Dagster launches: from the web page, by a schedule, by `dg launch`. `make run` computes
its steps in its own process, in which a model that one step has loaded serves the next.
"""

from importlib.util import find_spec

import dagster as dg

from dagster_project.environments import Environment
from neuroscribe.errors import StudyError

PRELOADED = ("dagster", "torch", "great_expectations")
"""What steps import slowly and does nothing then: no thread, no CUDA. Every step's process begins with it."""


def executor(environment: Environment) -> dg.ExecutorDefinition:
    """Return the executor that an environment names, of which a run's configuration can set nothing."""
    if environment.executor == "ray":
        require_ray("NEUROSCRIBE_EXECUTOR is 'ray'")
        from dagster_project.ray_steps import ray_steps

        return ray_steps(environment)
    if environment.executor == "multiprocess":
        start = {"forkserver": {"preload_modules": list(PRELOADED)}}
        return dg.multiprocess_executor.configured(
            lambda _: {"start_method": start}, name="multiprocess", config_schema={}
        )
    return dg.in_process_executor


def require_ray(who: str) -> None:
    """Raise StudyError where what Ray needs is not installed; `who` asks for it."""
    if find_spec("ray") is None or find_spec("dagster_ray") is None:
        raise StudyError(
            f"{who}, and Ray is not installed here; install it by"
            " .venv/bin/python -m pip install --require-hashes --no-deps -r requirements-ray.lock"
        )
