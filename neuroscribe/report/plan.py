"""What a study will ask of language models, before it does: calls, tokens and money per layer.

Where a layer's records are there, its prompts are those that will be sent. Everything is rather too much than
too little: every explanation is taken to be readable and unlike the others, every answer to be as long as it
may be, and no prompt to be cheaper for having been in a cache.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from math import ceil
from typing import Any

import polars as pl

from neuroscribe.ports.labels import Labels
from neuroscribe.ports.replies import Usage
from neuroscribe.ports.stores import CallStore
from neuroscribe.report.lines import NOTHING
from neuroscribe.report.planned_calls import Asked, Found, LayerView, PlannedCalls
from neuroscribe.report.text import Format, aligned, counted, dollars, percent, shown, worded
from neuroscribe.study.spec import Study

CHARACTERS_PER_TOKEN = 3.5
"""Rather few, so that tokens are rather too many: English prose has 4 or more."""
_PIECE = re.compile(r" ?\w+|[^\w ]")
"""What is a token at least in lists of tokens and numbers, which have far fewer characters to a token."""
_SCHEMA = {
    "layer": pl.Int16(), "stage": pl.String(), "name": pl.String(), "neurons": pl.Int64(),
    "set_aside": pl.Int64(), "calls": pl.Int64(), "answered": pl.Int64(), "prompt_tokens": pl.Int64(),
    "completion_tokens": pl.Int64(), "shared": pl.Float64(), "cost_usd": pl.Float64(),
    "known_from": pl.String(),
}  # fmt: skip
"""Columns of a plan. `set_aside` are dead and near-dead neurons, null where not known yet; `calls` are still
to be made, `answered` are in the store; `shared` is the part of the prompts that is a beginning which those
before them had, too, and which a server with a prefix cache reads once; money is null without a price."""


def layer_plan(
    study: Study,
    layer: int,
    known: Found,
    *,
    explaining: Asked,
    simulating: Asked,
    paraphrasing: Asked | None = None,
    labels: Mapping[str, Labels] | None = None,
    calls: CallStore | None = None,
    tokens_in: Callable[[str], int] | None = None,
    is_first: bool = True,
) -> pl.DataFrame:
    """Return one row per explainer, simulator and scorer: what it will ask about a layer; see `_SCHEMA`.

    `labels` are those of others, by the explainers that read them; without them likely ones stand in.
    What a study asks once is counted in the first of several layers. `tokens_in` counts tokens as the model
    does; without it they are estimated by `likely_tokens`.
    """
    view = LayerView(study, layer, known, calls, labels, is_first=is_first)
    about = {"layer": layer, "neurons": len(view.sample.neurons), "set_aside": view.set_aside}

    def model_of(stage: str, name: str) -> Asked:
        """Return the model that is asked."""
        if stage != "explanation":
            return simulating
        is_other = study.explainers[name].asks == "paraphraser_llm"
        return paraphrasing if paraphrasing and is_other else explaining

    rows = [
        {**about, "stage": stage, "name": name, **_amounts(planned, model, tokens_in or likely_tokens)}
        for stage in ("explanation", "simulation", "judgement", "choice", "sentence")
        for name, planned, model in view.planned(stage, model_of)
    ]
    return pl.DataFrame(rows, schema=_SCHEMA)


def _amounts(planned: PlannedCalls, model: Asked, tokens_in: Callable[[str], int]) -> dict[str, Any]:
    """Return what the calls of one explainer, simulator or judge take."""
    texts = [text for text, _ in planned.sample]
    usage = Usage(
        prompt_tokens=_scaled(map(tokens_in, texts), planned.open, len(texts)),
        completion_tokens=_scaled((most for _, most in planned.sample), planned.open, len(texts)),
    )
    return {
        "calls": planned.open,
        "answered": planned.answered,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "shared": _shared(texts, planned.open),
        "cost_usd": model.cost(usage) if planned.open else 0.0,
        "known_from": planned.known_from,
    }


def _scaled(amounts: Iterable[int], number: int, looked_at: int) -> int:
    return round(sum(amounts) * number / looked_at) if looked_at else 0


def _shared(texts: Sequence[str], number: int) -> float | None:
    """Return the part of all prompts that is the beginning they have in common, but for the first of them."""
    if len(texts) < 2:
        return None
    # What the first and the last in order have in common, all have.
    pairs = zip(min(texts), max(texts), strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alike * len(texts) / sum(map(len, texts)) * (number - 1) / number


def likely_tokens(text: str) -> int:
    """Return about how many tokens a prompt has: rather too many than too few."""
    return max(ceil(len(text) / CHARACTERS_PER_TOKEN), sum(1 for _ in _PIECE.finditer(text)))


def plan_text(plan: pl.DataFrame, width: int) -> str:
    """Return plans of layers as a table with a total, in lines of at most `width` characters."""
    sums = [pl.col(name).sum() for name in ("calls", "answered", "prompt_tokens", "completion_tokens")]
    cost = pl.col("cost_usd")
    total = plan.select(*sums, cost_usd=pl.when(cost.null_count() == 0).then(cost.sum()))
    rows = pl.concat([plan, total], how="diagonal")
    return "\n".join([*aligned(rows, _COLUMNS, width, left=("name", "known from")), "", *_LEGEND]) + "\n"


_COLUMNS: Mapping[str, Format] = {
    "layer": shown("layer", "{}", unknown="all"),
    "name": worded("name"),
    "neurons": counted("neurons"),
    "set aside": counted("set_aside"),
    "calls": counted("calls"),
    "answered": counted("answered"),
    "prompt tokens": counted("prompt_tokens"),
    "shared": percent("shared"),
    "answer tokens": counted("completion_tokens"),
    "money": dollars("cost_usd"),
    "known from": worded("known_from"),
}
_LEGEND = (
    "Calls: still to be made; answered: in the store (those of a model in this process are known by whole"
    " layers alone, so a run may make fewer). Tokens and money: estimates, rather too high;"
    " prices: usd_per_million_prompt_tokens and usd_per_million_completion_tokens of [llm].",
    "Shared: what prompts begin with in common, which many servers read once and some charge less for.",
    f"Known from: what a layer's numbers rest on; `study`: nothing is captured yet. {NOTHING}: unknown.",
)
