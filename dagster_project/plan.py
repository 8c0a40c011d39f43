"""What a study will ask of language models: calls, tokens and money per layer, before anything is spent.

    python -m dagster_project.plan STUDY

What is captured already is planned by its records, the rest by the study's numbers. No server is asked, and
no model is loaded.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dagster_project.command import Variables, chosen, status, study_parser, width
from dagster_project.environments import Environment
from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.explain.stage import LayerTables
from neuroscribe.judge.judges import AskedJudge
from neuroscribe.judge.stage import layout_of
from neuroscribe.lineage import Lineage
from neuroscribe.ports.models import LLM
from neuroscribe.ports.replies import Usage
from neuroscribe.ports.stores import CallStore
from neuroscribe.report.plan import layer_plan, plan_text
from neuroscribe.report.planned_calls import Asked, Found
from neuroscribe.simulate.simulators import asking_simulator
from neuroscribe.study.spec import LLMSpec, Study
from resources.llm.prices import batch_prices, prices
from resources.store.tables import Tables

_ASKED = ("explanations", "simulations", "judgements")
"""Stages that ask a model."""


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Print a study's plan; returns 0, or 1 after one message about what went wrong."""
    layers = "plan these layers instead of the study's, as in 0,6,12"
    options = study_parser("plan", __doc__, layers=layers, default="embedded").parse_args(arguments)
    return status(lambda environment: _print_plan(*chosen(options, environment), environment), variables)


def _print_plan(study: Study, layers: Sequence[int] | None, environment: Environment) -> None:
    plan = study_plan(study, environment, study.sampled_layers if layers is None else layers)
    sys.stdout.write(f"study {study.name}: {study.description}\n\n{plan_text(plan, width())}")


def study_plan(study: Study, environment: Environment, layers: Sequence[int]) -> pl.DataFrame:
    """Return the plans of some layers."""
    resources = environment.resources(in_dagster=False)
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    explaining = _asked(study, study.llm, resources)
    simulating = _asked(study, study.simulating_llm, resources)
    plans = [
        layer_plan(
            study,
            layer,
            found(study, tables, layer),
            explaining=explaining,
            simulating=simulating,
            calls=resources["calls"],
        )
        for layer in layers
    ]
    return pl.concat(plans)


def found(study: Study, tables: Tables, layer: int) -> Found:
    """Return what is there of a layer and still belongs to the study."""
    lineage = Lineage(study.name, tables)

    def current(*stages: str) -> bool:
        return all(lineage.is_current(study, stage, layer) for stage in stages)

    def read(table: str) -> pl.DataFrame:
        return tables.read(study.name, table, layer)

    if not current("activations"):
        return Found()
    statistics = read("activations/statistics")
    if not current("neuron_records", "token_lookup", "connections"):
        return Found(statistics)
    shown = LayerTables(
        tables.read(study.name, "corpus/sequences"),
        tables.read(study.name, "corpus/vocabulary"),
        statistics,
        read("neuron_records"),
        read("token_lookup"),
        read("connections"),
    )
    asked = frozenset(stage for stage in _ASKED if current(stage))
    return Found(statistics, shown, read("explanations") if "explanations" in asked else None, asked)


def _asked(study: Study, spec: LLMSpec, resources: Mapping[str, Any]) -> Asked:
    """Return what a plan needs of a model, without loading or asking it."""
    if spec.provider == "local":
        return Asked(_free)
    try:
        llm = resources["llm"].open(spec, beside=study.llm)
    except LLMError:  # without an address; a run says what to do
        own = prices(spec, spec.base_url or "")
        return Asked(own.cost)
    known = (batch_prices if spec.batch else prices)(spec, llm.endpoint.url)
    calls = resources["calls"]
    return Asked(known.cost, llm.identity, _simulators(study, llm, calls), _judges(study, llm, calls))


def _simulators(study: Study, llm: LLM, calls: CallStore) -> dict[str, str]:
    """Return the identities of the simulators that ask this model."""
    identities: dict[str, str] = {}
    for name, spec in study.simulators.items():
        if spec.prompts:
            try:
                identities[name] = asking_simulator(spec, llm, calls).identity
            except CapabilityError:  # a run says so before it begins
                continue
    return identities


def _judges(study: Study, llm: LLM, calls: CallStore) -> dict[str, list[str]]:
    """Return the identities that the judges of the study may have with this model."""
    return {
        name: [AskedJudge(llm, layout_of(spec), calls, by_first_token=way).identity for way in (True, False)]
        for name, spec in study.judging.items()
        if spec.calls(1)
    }


def _free(_: Usage) -> float:
    """Return what a model in this process charges."""
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
