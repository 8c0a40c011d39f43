"""Explains, simulates, scores and checks a study's layers in one process without Dagster.

`python -m benchmarks.stages_alone STUDY.toml` reads the tables that runs have left in the store, asks the LLM
anew, writes what it makes elsewhere and prints the seconds of processor time that this process took.
"""

import asyncio
import sys
import time
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assets.checks import SUITES
from dagster_project.environments import Environment
from neuroscribe.capture.connections import connections_of
from neuroscribe.describe.stage import described_layer
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.stage import explained_layer
from neuroscribe.kinds import read_study
from neuroscribe.ports.checks import Told, examined
from neuroscribe.ports.silent import Silent
from neuroscribe.report.trace.tables import LayerTables
from neuroscribe.score.stage import scored_layer
from neuroscribe.simulate.stage import simulated_layer
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, provenance
from resources.store.calls import Calls
from resources.store.tables import Tables


def main() -> None:
    """Print the seconds."""
    study, environment = read_study(Path(sys.argv[1])), Environment.read()
    with TemporaryDirectory(prefix="neuroscribe-") as elsewhere:
        _run(study, environment, elsewhere)
    print(time.process_time())


def _run(study: Study, environment: Environment, elsewhere: str) -> None:
    resources, written = environment.resources(), Tables(elsewhere)
    tables, progress = Tables(environment.store), Silent()
    asked = {
        "llm": resources["llm"],
        "calls": Calls(root=elsewhere),
        "encoders": resources["encoders"],
        "progress": progress,
    }
    subject = resources["subject"].open(study.subject, progress=progress)
    connections = connections_of(subject, layers=study.sampled_layers, progress=progress).frames
    for layer in study.sampled_layers:
        made = {"connections": connections[layer]}
        evidence = LayerEvidence(study, layer, LayerTables(study, layer, tables))
        made["explanations"] = asyncio.run(explained_layer(evidence, labels=resources["labels"], **asked))
        made["simulations"] = asyncio.run(simulated_layer(evidence, **asked))
        made["scores"] = scored_layer(evidence, encoders=resources["encoders"], progress=progress)
        made["descriptions"] = described_layer(evidence)
        _check(study, layer, tables, made, resources["expectations"])
        for stage, frame in made.items():
            said = provenance(study, stage)
            written.write(frame, study.name, STAGES[stage].tables[0].name, layer, provenance=said)


def _check(study: Study, layer: int, tables: Tables, made: Collection[str], expectations: Any) -> None:
    """Examine what runs have left of these stages, which is what was made anew."""
    for suite in SUITES.values():
        if suite.stage in made:
            rows = suite.rows(study, layer, tables, Told())
            examined(expectations, suite.rules(study), rows, name=f"{suite.stage} of layer {layer}")


if __name__ == "__main__":
    main()
