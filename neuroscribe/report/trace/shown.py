"""What an explainer saw of a neuron: sequences with marks, the first rows of its token table, documents."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from neuroscribe.evidence.exemplars import Neuron, all_time_maximum
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import Ranking, ranked_tokens, spelled
from neuroscribe.explain.pairs import discretised, excerpt_pairs
from neuroscribe.report.trace.tree import ShownSequence
from neuroscribe.text.marks import marked

TOKENS = 12
"""Tokens shown of a table."""
_KINDS = ("top", "quantile", "random")


def shown_sequences(evidence: LayerEvidence, row: Mapping[str, Any]) -> tuple[ShownSequence, ...]:
    """Return the sequences that stand beside an explanation, a row of EXPLANATIONS, in its order."""
    neuron: Neuron = (row["neuron"], row["polarity"])
    corpus = evidence.tables["corpus/sequences"].filter(pl.col("sequence_id").is_in(row["sequence_ids"]))
    places = {each["sequence_id"]: each for each in corpus.iter_rows(named=True)}
    return tuple(_shown(evidence, neuron, each, places.get(each, {})) for each in row["sequence_ids"])


def _shown(evidence: LayerEvidence, neuron: Neuron, sequence: int, place: Mapping[str, Any]) -> ShownSequence:
    record = _record(evidence, neuron, sequence)
    return ShownSequence(
        sequence_id=sequence,
        kind=record.get("kind"),
        rank=record.get("rank"),
        split=record.get("split"),
        peak=record.get("peak"),
        text=_text(evidence, neuron, sequence) if place else "",
        document_id=place.get("document_id"),
        source=place.get("source"),
    )


def _record(evidence: LayerEvidence, neuron: Neuron, sequence: int) -> Mapping[str, Any]:
    """Return the record of a sequence, as a top exemplar where it is one; empty where there is none."""
    rows = evidence.records(neuron).filter(sequence_id=sequence).to_dicts()
    return min(rows, key=lambda row: _KINDS.index(row["kind"])) if rows else {}


def _text(evidence: LayerEvidence, neuron: Neuron, sequence: int) -> str:
    """Return a whole sequence with marks, by its record or else what was kept of it."""
    tokens, record = evidence.tokens[sequence], _record(evidence, neuron, sequence)
    kept = evidence.truth(neuron)
    places = np.flatnonzero(kept.sequence_ids == sequence)
    if record:
        values = np.array(record["activations"]) * neuron[1]
    else:
        values = kept.values[places[0]] if len(places) else np.zeros(len(tokens))
    largest = max(all_time_maximum(evidence.records(neuron)), float(values.max(initial=0.0)))
    tenths = discretised(values, maximum=largest, polarity=1)
    return marked([excerpt_pairs(tokens, tenths, peak=0, length=len(tokens))])[0]


def shown_tokens(evidence: LayerEvidence, row: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the rows of the token table that the explainer ranks first, where it reads the table."""
    if not evidence.study.reads_table(row["explainer"]):
        return ()
    spec = evidence.study.explainers[row["explainer"]]
    # As it is set; one that builds on another explainer has no such settings of its own.
    occurrences: int = getattr(spec, "occurrences", 1)
    by: Ranking = getattr(spec, "by", "weight")
    neuron: Neuron = (row["neuron"], row["polarity"])
    ranked = ranked_tokens(evidence, neuron, occurrences=occurrences, by=by)[:TOKENS]
    texts = spelled(evidence, ranked["token_id"].to_list())
    columns = ranked.select("token_id", "count", "mean", "shrunken_mean").to_dicts()
    return tuple({"token": text, **each} for text, each in zip(texts, columns, strict=True))


def shown_effects(evidence: LayerEvidence, row: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the tokens that the amplified neuron makes likelier or less likely, for the output half."""
    if row["half"] != "output":
        return ()
    own = evidence.tables["effects"].filter(
        pl.col("kind").is_in(("promoted", "suppressed")) & (pl.col("rank") < TOKENS),
        neuron=row["neuron"],
        polarity=row["polarity"],
    )
    columns = own.sort("kind", "rank").select("kind", "rank", "token_id", "change").to_dicts()
    texts = spelled(evidence, [each["token_id"] for each in columns])
    return tuple({"token": text, **each} for text, each in zip(texts, columns, strict=True))


def documents(evidence: LayerEvidence, shown: Sequence[ShownSequence]) -> tuple[dict[str, Any], ...]:
    """Return the documents of what was shown, and how many sequences of the corpus each gives."""
    wanted = list(dict.fromkeys(each.document_id for each in shown if each.document_id is not None))
    corpus = evidence.tables["corpus/sequences"].filter(pl.col("document_id").is_in(wanted))
    grouped = corpus.group_by("document_id").agg(
        pl.col("source").first(), pl.col("held_out").first(), sequences=pl.len()
    )
    return tuple(grouped.sort("document_id").to_dicts())
