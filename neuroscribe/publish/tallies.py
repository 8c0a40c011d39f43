"""Counts and means of a table as plain numbers: what stands beside every materialisation."""

import polars as pl

from neuroscribe.publish.summary import Headline, main_scores
from neuroscribe.records import EXPLANATION_STATUSES, READING_STATUSES
from neuroscribe.sampling import SET_ASIDE_REASONS
from neuroscribe.studies import Study

Tally = dict[str, int | float | str]


def explanation_tally(explanations: pl.DataFrame, set_aside: pl.DataFrame) -> Tally:
    """Return explanations by status, tokens, money, and what was set aside before any call by reason.

    Money is left out where any price is unknown.
    """
    asked = explanations.filter(pl.col("model") != "none")
    tally: Tally = {
        "explanations": len(explanations),
        "calls": len(asked),
        "prompt_tokens": int(asked["prompt_tokens"].sum()),
        "completion_tokens": int(asked["completion_tokens"].sum()),
    }
    for status in EXPLANATION_STATUSES:
        tally[f"status_{status}"] = int((explanations["status"] == status).sum())
    for reason in SET_ASIDE_REASONS:
        tally[f"set_aside_{reason}"] = int((set_aside["reason"] == reason).sum())
    if len(asked) and not asked["cost_usd"].null_count():
        tally["cost_usd"] = float(asked["cost_usd"].sum())
    return tally


def simulation_tally(simulations: pl.DataFrame) -> Tally:
    """Return simulations and the mean probability mass on valid values, per simulator."""
    tally: Tally = {"simulations": len(simulations)}
    for (name,), rows in simulations.partition_by("simulator", as_dict=True).items():
        tally[f"{name}/simulations"] = len(rows)
        for status in READING_STATUSES:
            tally[f"{name}/status_{status}"] = int((rows["status"] == status).sum())
        mass = rows["valid_fraction"].drop_nulls()
        if len(mass):
            tally[f"{name}/mean_valid_fraction"] = float(mass.to_numpy().mean())
        if rows["unmatched_words"].count():
            tally[f"{name}/unmatched_words"] = int(rows["unmatched_words"].sum())
    return tally


def score_tally(study: Study, scores: pl.DataFrame) -> Tally:
    """Return how many scores there are and are not, and the headline's mean value, ceiling and control."""
    tally: Tally = {"scores": len(scores), "unscored": scores["value"].null_count()}
    headline = main_scores(scores, Headline.of(study)).filter(pl.col("value").is_not_null())
    for column in ("value", "ceiling", "control"):
        known = headline[column].drop_nulls()
        if len(known):
            tally[f"mean_{column}"] = float(known.to_numpy().mean())
    return tally


def llm_calls(study: Study, explanations: pl.DataFrame, simulations: pl.DataFrame) -> int:
    """Return how many LLM calls a layer's tables rest on.

    That is a prompt per explanation and, for every asking simulator, one per text and sequence, or per token.
    """
    texts = explanations.select("explanation_id", "text")
    asked = int((explanations["model"] != "none").sum())
    for name, spec in study.simulators.items():
        own = simulations.filter(pl.col("simulator") == name).join(texts, on="explanation_id")
        lengths = own.unique(["text", "sequence_id"])["simulated"].list.len()
        asked += sum(spec.calls(1, tokens) for tokens in lengths)
    return asked
