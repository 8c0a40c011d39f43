"""Captures a study's corpus on a Ray cluster: one task per shard, each on a machine that has room for it.

    python -m dagster_project.ray_capture STUDY --shards N

The study's corpus has to be there, in a store that all machines reach. A shard whose worker is killed goes on
elsewhere from its last checkpoint; one that fails is named at the end, and the same command goes on with what
is missing. Materialising `activations`, in the UI or by `make run`, then merges the shards, to the same bits
as a capture in one process.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from dagster_project.command import Variables, chosen, status, study_parser
from dagster_project.environments import Environment
from dagster_project.executors import require_ray

_STOPPED = 130


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Capture all shards; returns 0, 1 after a message about each that failed, or 130 if stopped."""
    command = study_parser("ray_capture", __doc__, layers="capture these layers instead of all, as in 0,1,2")
    command.add_argument("--shards", type=int, required=True, help="into how many shards the corpus is cut")
    command.add_argument("--address", help="the cluster: auto, host:port or ray://host:port")
    command.add_argument("--cpus-per-shard", type=float, default=1.0, help="CPUs that a shard asks for (1)")
    command.add_argument("--gpus-per-shard", type=float, help="GPUs that a shard asks for, as in 1 or 0.5")
    command.add_argument("--retries", type=int, default=3, help="killed workers that a shard outlives (3)")
    options = command.parse_args(arguments)

    def work(environment: Environment) -> None:
        require_ray("this command runs on a Ray cluster")
        from dagster_project.ray_tasks import Asked, capture_on_ray

        study, layers = chosen(options, environment)
        gpus = environment.ray_gpus if options.gpus_per_shard is None else options.gpus_per_shard
        asked = Asked(options.shards, layers, options.cpus_per_shard, gpus, options.retries)
        capture_on_ray(
            study, replace(environment, ray_address=options.address or environment.ray_address), asked
        )

    try:
        return status(work, variables)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the same command goes on with the shards as they are\n")
        return _STOPPED


if __name__ == "__main__":
    sys.exit(main())
