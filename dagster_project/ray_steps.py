"""Dagster's steps as Ray jobs: dagster-ray's executor, where steps on the subject ask for GPUs."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepDelegatingExecutor, StepHandlerContext
from dagster_ray.core.executor import RayStepHandler

from dagster_project.environments import Environment

GPU_POOL = "gpu"
"""Pool of the assets that run the subject."""


class RaySteps(RayStepHandler):
    """Submits each step as a Ray job; what the step's pool says is what it asks the cluster for."""

    def __init__(self, *, gpus: float, **settings: Any) -> None:
        super().__init__(**settings, num_gpus=None)
        self._on_gpu = RayStepHandler(**settings, num_gpus=gpus)

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Submit a step's job."""
        (name,) = step_handler_context.execute_step_args.step_keys_to_execute or []
        pool = step_handler_context.get_step_context(name).step.pool
        handler = self._on_gpu if pool == GPU_POOL else super()
        yield from handler.launch_step(step_handler_context)


def told_to_jobs(environment: Environment) -> dict[str, str]:
    """Return the variables that a Ray job is told: where studies and results are, and which `dagster` it is.

    Never more: what a job is told stands in Ray's dashboard.
    """
    # Ray fills in what PATH is on the worker.
    return environment.told() | {"PATH": f"{Path(sys.executable).parent}:${{PATH}}"}


def ray_steps(environment: Environment) -> dg.ExecutorDefinition:
    """Return an executor whose steps run on the environment's cluster."""

    def created(_context: dg.InitExecutorContext) -> StepDelegatingExecutor:
        from ray.job_submission import JobSubmissionClient

        handler = RaySteps(
            client=JobSubmissionClient(environment.ray_address),
            gpus=environment.ray_gpus,
            env_vars=None,
            runtime_env={"env_vars": told_to_jobs(environment)},
            num_cpus=1,
            memory=None,
            resources=None,
        )
        return StepDelegatingExecutor(handler, RetryMode.ENABLED, should_verify_step=True)

    return dg.ExecutorDefinition(
        name="ray",
        config_schema={},
        requirements=multiple_process_executor_requirements(),
        executor_creation_fn=created,
        description="Each step is a job of a Ray cluster.",
    )
