"""Captures one shard of a study's corpus, so that several processes or machines share the work.

    python -m dagster_project.shard STUDY SHARD SHARDS

All of them use one store (NEUROSCRIBE_STORE), in which the study's corpus has been materialised. When
`activations` is materialised, in the UI or by `make run`, the shards that are there are merged and the others
captured on the way; the result is the same, to the bit, as that of one process.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from dagster_project.environments import Environment
from neuroscribe.capture.stage import captured_shard
from neuroscribe.errors import NeuroscribeError, StoreError
from neuroscribe.kinds import read_studies
from neuroscribe.study.files import chosen_layers, chosen_study
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study
from neuroscribe.text.escaping import escaped
from resources.store.tables import Tables


def main(arguments: Sequence[str] | None = None, variables: Mapping[str, str] | None = None) -> int:
    """Capture a shard; returns 0, or 1 after one message about what went wrong.

    `variables` stand in for the process's environment variables.
    """
    parser = argparse.ArgumentParser(prog="python -m dagster_project.shard", description=__doc__)
    parser.add_argument("study", help="name of a file in studies/, without .toml")
    parser.add_argument("shard", type=int, help="which shard, from 0")
    parser.add_argument("shards", type=int, help="how many shards there are")
    parser.add_argument("--layers", help="capture these layers instead of all, as in 0,1,2")
    options = parser.parse_args(arguments)
    try:
        environment = Environment.read(variables)
        study = chosen_study(read_studies(environment.studies), options.study)
        layers = None if options.layers is None else chosen_layers(study, options.layers)
        capture(study, environment, shard=options.shard, shards=options.shards, layers=layers)
    except NeuroscribeError as error:
        lines = [escaped(line.encode(errors="replace")) for line in str(error).splitlines()]
        sys.stderr.write("\nerror: " + "\n".join(lines) + "\n")
        return 1
    return 0


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
    resources = environment.resources(in_dagster=False)
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
