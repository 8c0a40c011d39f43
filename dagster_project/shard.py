"""Captures one shard of a study's corpus, so that several processes or machines share the work.

    python -m dagster_project.shard STUDY SHARD SHARDS

All of them use one store (NEUROSCRIBE_STORE), in which the study's corpus has been materialised. When
`activations` is materialised, in the UI or by `make run`, the shards that are there are merged and the others
captured on the way; the result is the same, to the bit, as that of one process.
"""

import sys
from collections.abc import Sequence

import polars as pl

from dagster_project.command import Variables, chosen, status, study_parser
from dagster_project.environments import Environment
from neuroscribe.capture.stage import captured_shard
from neuroscribe.errors import StoreError
from neuroscribe.ports.stores import Progress
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
    study: Study,
    environment: Environment,
    *,
    shard: int,
    shards: int,
    layers: Sequence[int] | None,
    progress: Progress | None = None,
) -> None:
    """Capture one shard into the environment's store; raises StoreError where the corpus is not there."""
    resources = environment.resources()
    sequences = corpus(study, environment)
    shown = progress or resources["progress"]
    captured_shard(
        study,
        resources["subject"].open(study.subject, progress=shown),
        sequences,
        shard=shard,
        shards=shards,
        layers=layers,
        store=resources["tensors"],
        progress=shown,
    )


def corpus(study: Study, environment: Environment) -> pl.DataFrame:
    """Return the sequences of a study; raises StoreError where the store does not hold them."""
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    if not Lineage(study.name, tables).is_current(study, "corpus", None):
        raise StoreError(
            f"{environment.store}: holds no corpus of study {study.name} as it stands; materialise"
            f" {study.name}/corpus first"
        )
    return tables.read(study.name, "corpus/sequences")


if __name__ == "__main__":
    sys.exit(main())
