"""Tokens that a scored neuron takes: what each explainer and each simulator would ask about captured neurons.

The prompts are those of the default study's records, which `make run` has put into the store: 5 excerpts
explained (of 64 tokens by token_pairs and next_token, as in the paper, and of 16 where they are marked), 5
top and 5 random sequences of 64 tokens scored, and as many under the control's explanation. Prompts are
counted with the study's own tokenizer; answers are counted as long as they may be, so that figures are upper
bounds.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.figures import Figure, figure
from dagster_project.environments import Environment
from dagster_project.plan import found
from neuroscribe.kinds import KnownStudy, read_studies
from neuroscribe.report.plan import layer_plan
from neuroscribe.report.planned_calls import Asked
from neuroscribe.study.files import chosen_study
from neuroscribe.study.spec import Study
from resources.models.artefacts import Artefacts
from resources.models.weights import located
from resources.progress import ProgressDisplay
from resources.store.tables import Tables

STUDY, LAYER = "embedded", 10


def token_figures() -> Iterator[Figure]:
    """Yield tokens per neuron of every explainer and simulator; nothing where no run has captured any."""
    environment = Environment.read()
    study = everything(chosen_study(read_studies(environment.studies), STUDY))
    tables = Tables(environment.store, endpoint_url=environment.endpoint_url)
    captured = found(study, tables, LAYER)
    if "neuron_records" not in captured.tables:
        print(
            f"{environment.store} holds no records of {STUDY}: llm.tokens_per_scored_neuron.* need `make run`"
        )
        return
    asked = Asked(lambda _: 0.0)
    plan = layer_plan(
        study, LAYER, captured, explaining=asked, simulating=asked, tokens_in=_counting(study, environment)
    )
    for row in plan.filter(pl.col("calls") > 0).iter_rows(named=True):
        tokens = (row["prompt_tokens"] + row["completion_tokens"]) / row["neurons"]
        name = f"llm.tokens_per_scored_neuron.{row['name']}"
        shared = f", {100 * (row['shared'] or 0):.0f} % of prompts in caches that keep beginnings"
        yield figure(name, [tokens], "tokens at most", n=row["neurons"], detail=shared)


def everything(study: Study) -> Study:
    """Return the study with every explainer, and every simulator reading `highlights`."""
    data: dict[str, Any] = study.model_dump(exclude={"explainers", "simulators", "scorers"})
    shown: dict[str, Any] = {name: {} for name in KnownStudy.known_kinds("explainers")}
    shown |= {name: {"excerpts": 5, "excerpt_tokens": 64} for name in ("token_pairs", "next_token")}
    del shown["senses"]  # which asks in the words of highlights, and needs an encoder
    read = {name: {"explainers": ["highlights"]} for name in KnownStudy.known_kinds("simulators")}
    return KnownStudy.model_validate({**data, "explainers": shown, "simulators": read})


def _counting(study: Study, environment: Environment) -> Any:
    from transformers import AutoTokenizer

    artefacts = Artefacts(Path(environment.cache), progress=ProgressDisplay())
    tokenizer = AutoTokenizer.from_pretrained(located(study.llm, artefacts=artefacts).path)
    return lambda text: len(tokenizer.encode(text))
