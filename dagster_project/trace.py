"""Everything behind a neuron's score: explanation, prompt, reply, exemplars, documents, tables, runs.

    python -m dagster_project.trace STUDY LAYER NEURON

Nothing is written, and no server is asked. With --json it is one JSON document.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence

from dagster_project.command import Variables, chosen, status, study_parser, width
from dagster_project.environments import Environment
from dagster_project.history import history
from dagster_project.materialised import materialised, text_revision
from neuroscribe.errors import StudyError
from neuroscribe.report.trace.behind import Facts, trace
from neuroscribe.report.trace.tables import LayerTables, check_layer, traced_stages, traced_tables
from neuroscribe.report.trace.text import trace_text
from neuroscribe.report.trace.tree import Materialised, Trace
from neuroscribe.study.spec import Study
from resources.store.tables import Tables


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Print the trace of a neuron; returns 0, or 1 after one message about what went wrong."""
    command = study_parser("trace", __doc__)
    command.add_argument("layer", type=int, help="index of the layer, from 0")
    command.add_argument("neuron", type=int, help="index of the neuron within its layer, from 0")
    command.add_argument(
        "--polarity", type=int, choices=(1, -1), help="which side (unless given, the better explained)"
    )
    command.add_argument("--explainer", help="whose explanation (unless given, what describes the neuron)")
    command.add_argument("--json", action="store_true", help="print one JSON document")
    options = command.parse_args(arguments)
    return status(lambda environment: _print_trace(options, environment), variables)


def _print_trace(options: Namespace, environment: Environment) -> None:
    study, _ = chosen(options, environment)
    found = neuron_trace(
        study,
        environment,
        options.layer,
        options.neuron,
        polarity=options.polarity,
        explainer=options.explainer,
    )
    as_json = f"{json.dumps(found.plain(), indent=1, allow_nan=False)}\n"
    sys.stdout.write(as_json if options.json else trace_text(found, width()))


def neuron_trace(
    study: Study,
    environment: Environment,
    layer: int,
    neuron: int,
    *,
    polarity: int | None = None,
    explainer: str | None = None,
) -> Trace:
    """Return everything behind a neuron's explanation; see `neuroscribe.report.trace`."""
    for name, index, count in (
        ("layer", layer, study.subject.layers),
        ("neuron", neuron, study.subject.neurons_per_layer),
    ):
        if not 0 <= index < count:
            raise StudyError(f"study {study.name} has {name}s 0 to {count - 1}, and no {name} {index}")
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    check_layer(study, layer, tables)
    resources = environment.resources()
    encoders, progress = resources["encoders"], resources["progress"]
    return trace(
        study,
        layer,
        neuron,
        LayerTables(study, layer, tables),
        _facts(study, environment, layer, tables),
        calls=resources["calls"],
        encoder=lambda: encoders.open(study.encoders[0], progress=progress),
        polarity=polarity,
        explainer=explainer,
    )


def _facts(study: Study, environment: Environment, layer: int, tables: Tables) -> Facts:
    runs, revision, said = _history(study, environment, layer, tables)
    return Facts(
        tables=traced_tables(study, layer, tables),
        runs=runs,
        history=said,
        text_revision=revision,
        activations=tables.provenance(study.name, "activations/statistics", layer),
    )


def _history(
    study: Study, environment: Environment, layer: int, tables: Tables
) -> tuple[Sequence[Materialised], str | None, str]:
    """Return what Dagster's history says of a layer; where there is none, none is begun."""
    home = environment.dagster_home
    if not (home / "dagster.yaml").exists():
        absent = [Materialised(stage, None) for stage in traced_stages(study)]
        return absent, None, f"{home} holds no history of Dagster's (DAGSTER_HOME); the tables speak alone"
    with history(environment) as instance:
        runs = materialised(instance, study, layer, tables)
        return runs, text_revision(instance, study), f"latest materialisations in {home}"


if __name__ == "__main__":
    sys.exit(main())
