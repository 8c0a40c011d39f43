"""Scores every explanation: value, interval, token-lookup ceiling and shuffled control side by side."""

from collections.abc import Collection, Sequence
from typing import Any

import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.score.ablations import Ablations
from neuroscribe.score.agreement import Agreement
from neuroscribe.score.choices import Choices
from neuroscribe.score.judgements import Judgements
from neuroscribe.score.sentences import Sentences
from neuroscribe.simulate.ranking import why_spared
from neuroscribe.simulate.whole import ranked_out, whole_corpus
from neuroscribe.study.dues import Due, dues
from neuroscribe.study.scoring import MEASURES
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import SCORES


def scored_layer(evidence: LayerEvidence, *, encoders: EncoderSource, progress: Progress) -> pl.DataFrame:
    """Return one row per explanation, scorer, split and regime, with undefined scores null and explained.

    Simulators that cost nothing read the corpus here; an encoder is opened only for one that needs it.
    """
    whole = whole_corpus(evidence, encoders, progress)
    agreement, chosen = Agreement(evidence, whole), Choices(evidence)
    judged, ablated, written = Judgements(evidence), Ablations(evidence), Sentences(evidence)
    due_scores = dues(evidence.study)
    rows: list[dict[str, Any]] = []
    for due in due_scores:
        if due.measure in MEASURES:
            rows += agreement.rows(due)
        elif due.measure == "ablation":
            rows += ablated.rows(due)
        elif due.measure == "sensitivity":
            rows += written.rows(due)
        elif due.source in evidence.study.choosing:
            rows += chosen.rows(due)
        else:
            rows += judged.rows(due)
    scores = _with_spared(SCORES.frame(rows), evidence.study, ranked_out(evidence, whole))
    return SCORES.checked(_with_choice(scores, evidence.tables["explanations"], due_scores))


def _with_spared(scores: pl.DataFrame, study: Study, spared: Collection[str]) -> pl.DataFrame:
    """Say of what was not simulated for being among the worse texts that this is why."""
    if not spared:
        return scores
    asked = [
        due.scorer
        for due in dues(study)
        if due.source in study.simulators and not study.simulators[due.source].costs_nothing
    ]
    unread = (
        pl.col("value").is_null()
        & pl.col("scorer").is_in(asked)
        & pl.col("explanation_id").is_in(list(spared))
    )
    reason = pl.when(unread).then(pl.lit(why_spared(study))).otherwise("null_reason")
    return scores.with_columns(null_reason=reason)


def _with_choice(scores: pl.DataFrame, explanations: pl.DataFrame, due: Sequence[Due]) -> pl.DataFrame:
    """Mark the candidate that is best on `valid`, over the corpus, by the scorer that decides for its scorer.

    Ties go to the first; without a value, one with a text goes before one without.
    """
    deciding = {each.scorer: each.chosen_by for each in due}
    # What was explained again from other exemplars says how stable explanations are, and is never chosen.
    published = explanations.filter(draw=0)
    index = published.select("explanation_id", "sample_index", usable=pl.col("status") == "ok")
    # By the regime that comes first among those of the scorer that decides.
    leading = {each.scorer: each.regimes[0] for each in due}
    regime = pl.col("scorer").replace_strict(leading, return_dtype=pl.String)
    valid = scores.filter(split="valid").filter(pl.col("regime") == regime) if len(scores) else scores
    judged_by = pl.col("scorer").replace_strict(deciding, return_dtype=pl.String)
    marked = scores.with_columns(decides=judged_by) if len(scores) else scores.with_columns(decides="scorer")
    ranked = (
        marked.select("explanation_id", "neuron", "polarity", "explainer", "decides")
        .unique(maintain_order=True)
        .join(
            valid.select("explanation_id", "value", decides="scorer"),
            on=["explanation_id", "decides"],
            how="left",
        )
        .join(index, on="explanation_id")
        .sort("sample_index")
        .sort("value", "usable", descending=True, nulls_last=True, maintain_order=True)
        .unique(["neuron", "polarity", "explainer", "decides"], keep="first", maintain_order=True)
        .select("explanation_id", "decides", best=pl.lit(True))
    )
    joined = marked.join(ranked, on=["explanation_id", "decides"], how="left", maintain_order="left")
    return joined.with_columns(chosen=pl.col("best").fill_null(False)).drop("best", "decides")
