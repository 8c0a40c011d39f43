"""Captures one shard of a study's corpus, so that several processes or machines share the work.

    python -m dagster_project.shard STUDY SHARD SHARDS

All of them use one store (NEUROSCRIBE_STORE), in which the study's corpus has been materialised. When
`activations` is materialised, in the UI or by `make run`, the shards that are there are merged and the others
captured on the way; the result is the same, to the bit, as that of one process.
"""

import sys
from collections.abc import Sequence

from dagster_project.command import Variables, chosen, status, study_parser
from dagster_project.environments import Environment
from neuroscribe.capture.stage import captured_shard
from neuroscribe.errors import StoreError
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study
from resources.store.tables import Tables


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Capture a shard; returns 0, or 1 after one message about what went wrong."""
    command = study_parser("shard", __doc__, layers="capture these layers instead of all, as in 0,1,2")
    command.add_argument("shard", type=int, help="which shard, from 0")
    command.add_argument("shards", type=int, help="how many shards there are")
    options = command.parse_args(arguments)

    def work(environment: Environment) -> None:
        study, layers = chosen(options, environment, sampled=False)
        capture(study, environment, shard=options.shard, shards=options.shards, layers=layers)

    return status(work, variables)


def capture(
    study: Study, environment: Environment, *, shard: int, shards: int, layers: Sequence[int] | None
) -> None:
    """Capture one shard into the environment's store; raises StoreError where the corpus is not there."""
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    if not Lineage(study.name, tables).is_current(study, "corpus", None):
        raise StoreError(
            f"{environment.store}: holds no corpus of study {study.name} as it stands; materialise"
            f" {study.name}/corpus first"
        )
    resources = environment.resources()
    captured_shard(
        study,
        resources["subject"].open(study.subject, progress=resources["progress"]),
        tables.read(study.name, "corpus/sequences"),
        shard=shard,
        shards=shards,
        layers=layers,
        store=resources["tensors"],
        progress=resources["progress"],
    )


if __name__ == "__main__":
    sys.exit(main())
