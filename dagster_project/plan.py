"""What a study will ask of language models: calls, tokens and money per layer, before anything is spent.

    python -m dagster_project.plan STUDY

What is captured already is planned by its records, the rest by the study's numbers. No server is asked, and
no model is loaded.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import polars as pl

from dagster_project.command import Variables, chosen, status, study_parser, width
from dagster_project.environments import Environment
from neuroscribe.choose.choosing import Choosing
from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.explain.stage import opened_labels
from neuroscribe.judge.judging import AskingJudge
from neuroscribe.llm.capabilities import LLM_NEEDS
from neuroscribe.ports.sources import Models
from neuroscribe.publish.layouts import chosen_layouts
from neuroscribe.report.plan import layer_plan, plan_text
from neuroscribe.report.planned_calls import Asked, Found
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.study.kinds import LLMSection
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import LLMSpec, Study
from neuroscribe.study.stages import STAGES, TABLES, stages_of, upstream_of
from resources.llm.prices import batch_prices, prices
from resources.store.tables import Tables


def main(arguments: Sequence[str] | None = None, variables: Variables | None = None) -> int:
    """Print a study's plan; returns 0, or 1 after one message about what went wrong."""
    layers = "plan these of the study's sampled layers alone, as in 0,6,12"
    options = study_parser("plan", __doc__, layers=layers, default="embedded").parse_args(arguments)
    return status(lambda environment: _print_plan(*chosen(options, environment), environment), variables)


def _print_plan(study: Study, layers: Sequence[int] | None, environment: Environment) -> None:
    plan = study_plan(study, environment, study.sampled_layers if layers is None else layers)
    sys.stdout.write(f"study {study.name}: {study.description}\n\n{plan_text(plan, width())}")


def study_plan(study: Study, environment: Environment, layers: Sequence[int]) -> pl.DataFrame:
    """Return the plans of some layers."""
    resources = environment.resources()
    resources["subject"].units(study.subject)  # refuses what a run would refuse
    chosen_layouts(study)
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    explaining = _asked(study, study.llm, resources)
    simulating = _asked(study, study.simulating_llm, resources)
    other = study.paraphraser_llm
    paraphrasing = _asked(study, other, resources, section="paraphraser_llm") if other else None
    labels = opened_labels(study, resources["labels"])
    plans = [
        layer_plan(
            study,
            layer,
            found(study, tables, layer),
            explaining=explaining,
            simulating=simulating,
            paraphrasing=paraphrasing,
            labels=labels,
            calls=resources["calls"],
            is_first=layer == layers[0],
        )
        for layer in layers
    ]
    return pl.concat(plans)


def found(study: Study, tables: Tables, layer: int) -> Found:
    """Return what is there of a layer and still belongs to the study."""
    lineage = Lineage(study.name, tables)

    def current(*stages: str) -> bool:
        return all(lineage.is_current(study, stage, layer) for stage in stages)

    def read(*names: str) -> dict[str, pl.DataFrame]:
        layered = {name: layer if TABLES[name].per_layer else None for name in names}
        return {name: tables.read(study.name, name, place) for name, place in layered.items()}

    if not current("activations"):
        return Found()
    statistics = read("activations/statistics")
    if not current(*upstream_of(study, "explanations")):
        return Found(statistics)
    captured = read(
        "corpus/sequences",
        "corpus/vocabulary",
        "neuron_records",
        "sampled_activations",
        "token_lookup",
        "connections",
        *(("predictability",) if study.sample.recognisable else ()),
        *(["effects"] if "effects" in stages_of(study) else []),
    )
    asked = frozenset(name for name, stage in STAGES.items() if stage.asks and current(name))
    explained = read("explanations") if "explanations" in asked else {}
    return Found({**statistics, **captured, **explained}, asked)


def _asked(
    study: Study, spec: LLMSpec, resources: Mapping[str, Any], *, section: LLMSection = "simulator_llm"
) -> Asked:
    """Return what a plan needs of a model, without loading or asking it."""
    if not spec.served:
        return Asked(lambda _: 0.0)  # in this process
    try:
        llm = resources["llm"].open(spec, beside=study.llm, section=section)
    except LLMError:  # without an address; a run says what to do
        return Asked(prices(spec, spec.base_url or "").cost)
    known = (batch_prices if spec.batch else prices)(spec, llm.endpoint.url)
    models = Models(llm, resources["encoders"], resources["calls"], resources["progress"])
    return Asked(known.cost, dict(_identities(study, models)))


def _identities(study: Study, models: Models) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yield by stage and name the identities that what asks these models may have."""
    assert models.llm is not None, "opened"
    for name in study.explainers:
        yield ("explanation", name), [models.llm.identity]
    for name, simulator in study.simulators.items():
        if isinstance(simulator, Simulating) and simulator.needs in LLM_NEEDS:
            with suppress(CapabilityError):  # a run says so before it begins
                yield ("simulation", name), [simulator.simulator(models).identity]
    for name, judge in study.judging.items():
        if isinstance(judge, AskingJudge):
            ways = (judge.judge(models, by_first_token=way) for way in (True, False))
            yield ("judgement", name), [way.identity for way in ways]
    for name, scorer in study.choosing.items():
        if isinstance(scorer, Choosing) and scorer.needs in LLM_NEEDS:
            yield ("choice", name), [scorer.chooser(models, None).identity]
    for name in study.writing:
        yield ("sentence", name), [models.llm.identity]


if __name__ == "__main__":
    sys.exit(main())
