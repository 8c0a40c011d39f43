"""The ledger: what every stored LLM call took, and sums of it by stage and model.

It is read off the stored answers, so it misses nothing that was kept and counts nothing twice; what an answer
was asked for is that of the first to ask. Latencies are clock values: no table of results holds any.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, cast

import polars as pl

from neuroscribe.errors import StoreError
from neuroscribe.llm.calls import ABOUT
from neuroscribe.ports.replies import Usage
from neuroscribe.ports.stores import KeptCalls
from neuroscribe.report.text import Format, aligned, counted, dollars, percent, shown, worded
from neuroscribe.study.stages import STAGES
from neuroscribe.tables.columns import USAGE, Column, Table

_ASKED_FOR = ", ".join(stage.asks for stage in STAGES.values() if stage.asks)

LEDGER = Table(
    "ledger",
    "What every stored LLM call took.",
    ("key",),
    (
        Column("key", pl.String(), "content hash of the question; names the answer's file"),
        Column("stage", pl.String(), f"what it was asked for: {_ASKED_FOR}", nullable=True),
        Column("model", pl.String(), "model and way of asking; null before it was stored", nullable=True),
        Column("study", pl.String(), "study that asked first", nullable=True),
        Column("layer", pl.Int16(), "layer it was asked about first", nullable=True),
        *USAGE,
        Column("latency_s", pl.Float64(), "seconds from question to answer; null if unknown", nullable=True),
        Column("status", pl.String(), "what became of it"),
    ),
    per_layer=False,
)


def ledger(calls: KeptCalls) -> pl.DataFrame:
    """Return the LEDGER of all answers in a store, by key; raises StoreError for a damaged one."""
    rows = [row for key in calls.keys() if (row := _checked_row(key, calls.get(key) or {}))]  # noqa: SIM118
    try:
        return LEDGER.frame(rows)
    except StoreError:
        for row in rows:  # which one it is: slow, and needed once
            _check_alone(row)
        raise


def ledger_summary(entries: pl.DataFrame) -> pl.DataFrame:
    """Return calls, tokens, share of cached tokens, money and latency (median, 95th percentile) of a ledger.

    One row per stage and model. Money is null where that of any call is unknown; latencies are of the calls
    that have one.
    """
    cost, latency = pl.col("cost_usd"), pl.col("latency_s")
    sums = [pl.col(name).sum() for name in ("prompt_tokens", "cached_tokens", "completion_tokens")]
    return (
        entries.group_by("stage", "model")
        .agg(
            pl.len().alias("calls"),
            *sums,
            pl.when(cost.null_count() == 0).then(cost.sum()).alias("cost_usd"),
            latency.median().alias("latency_median_s"),
            latency.quantile(0.95, "linear").alias("latency_95_s"),
        )
        .with_columns(
            cached_share=pl.when(pl.col("prompt_tokens") > 0).then(
                pl.col("cached_tokens") / pl.col("prompt_tokens")
            )
        )
        .sort("stage", "model", nulls_last=True)
    )


def ledger_text(entries: pl.DataFrame, width: int) -> str:
    """Return the summary as lines of at most `width` characters where words allow."""
    return "\n".join(aligned(ledger_summary(entries), _COLUMNS, width, left=("stage", "model"))) + "\n"


def _checked_row(key: str, answer: Mapping[str, object]) -> dict[str, Any] | None:
    """Return an answer's row; raises StoreError naming one that has none of its form."""
    try:
        return _row(key, answer)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise _no_answer(key, error) from error


def _check_alone(row: Mapping[str, Any]) -> None:
    """Raise StoreError naming the answer if its row does not fit the table."""
    try:
        LEDGER.frame([dict(row)])
    except StoreError as error:
        raise _no_answer(row["key"], error) from error


def _no_answer(key: str, error: Exception) -> StoreError:
    found = f"{type(error).__name__}: {str(error)[:200]}"
    return StoreError(
        f"the stored answer {key}: is no answer of a call ({found}); remove its file among the store's calls,"
        " and the call is made again"
    )


def _row(key: str, answer: Mapping[str, object]) -> dict[str, Any] | None:
    """Return an answer's row; None for what is no call, or whose calls are kept by themselves."""
    about = _mapping(answer.get(ABOUT))
    parts = [_mapping(reading) for reading in cast(Sequence[object], answer.get("readings") or (answer,))]
    if about.get("of_calls") or any("usage" not in part for part in parts):
        return None
    usage = reduce(add, (Usage(**part["usage"]) for part in parts))
    unread = (str(part["status"]) for part in parts if part["status"] != "ok")
    return {
        "key": key,
        "stage": about.get("stage"),
        "model": about.get("model"),
        "study": about.get("study"),
        "layer": about.get("layer"),
        **vars(usage),
        "status": next(unread, "ok"),
    }


def _mapping(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


_COLUMNS: Mapping[str, Format] = {
    "stage": worded("stage"),
    "calls": counted("calls"),
    "prompt tokens": counted("prompt_tokens"),
    "cached": percent("cached_share"),
    "completion tokens": counted("completion_tokens"),
    "money": dollars("cost_usd"),
    "median s": shown("latency_median_s", "{:,.2f}"),
    "95 % s": shown("latency_95_s", "{:,.2f}"),
    "model": worded("model"),
}
