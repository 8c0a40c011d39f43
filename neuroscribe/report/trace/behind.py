"""Puts a trace together: from the tables of a layer, the stored calls, and what Dagster's history says."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from neuroscribe.capture.stage import corpus_hash
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.stores import CallStore
from neuroscribe.report.trace.chosen import chosen_explanation
from neuroscribe.report.trace.prompts import OpenEncoder, sent
from neuroscribe.report.trace.readings import scored, simulations
from neuroscribe.report.trace.shown import documents, shown_effects, shown_sequences, shown_tokens
from neuroscribe.report.trace.tree import Materialised, Trace, TracedTable
from neuroscribe.study.spec import Study

_SCORE = (
    "scorer", "split", "regime", "value", "ci_low", "ci_high", "ceiling", "control", "n_controls", "p",
    "n_sequences", "n_tokens", "n_unreadable", "null_reason", "chosen",
)  # fmt: skip
_SAID_BY_FILES = ("subject", "subject_revision", "dtype", "units")


@dataclass(frozen=True)
class Facts:
    """What is known of a layer beside the rows of its tables."""

    tables: Sequence[TracedTable]
    runs: Sequence[Materialised]
    history: str
    """Where the runs were looked up, or why there are none."""
    text_revision: str | None
    """Of the corpus, as its materialisation told it."""
    activations: Mapping[str, str]
    """What the file of the activations' statistics says about itself."""


def trace(
    study: Study,
    layer: int,
    neuron: int,
    tables: Mapping[str, pl.DataFrame],
    facts: Facts,
    *,
    calls: CallStore,
    encoder: OpenEncoder,
    polarity: int | None = None,
    explainer: str | None = None,
) -> Trace:
    """Return everything behind a neuron's explanation: the description's, or another explainer's.

    Raises StudyError for a neuron, side or explainer of which there is nothing.
    """
    row, description = chosen_explanation(
        study, layer, neuron, tables, polarity=polarity, explainer=explainer
    )
    side = (neuron, row["polarity"])
    evidence = LayerEvidence(study, layer, tables, neurons=[side])
    shown = shown_sequences(evidence, row)
    return Trace(
        study=study.name,
        about=study.description,
        layer=layer,
        neuron=neuron,
        polarity=row["polarity"],
        description=description,
        is_description=bool(description and description["explanation_id"] == row["explanation_id"]),
        scores=_scores(tables["scores"], row),
        simulations=simulations(evidence, row),
        scored=scored(evidence, row),
        explanation={name: value for name, value in row.items() if name not in ("layer", "neuron")},
        others=_others(tables["explanations"], row),
        sent=sent(evidence, row, calls, encoder, holds=_holds(facts.tables)),
        exemplars=shown,
        tokens=shown_tokens(evidence, row),
        effects=shown_effects(evidence, row),
        documents=documents(evidence, shown),
        corpus=_corpus(study, tables["corpus/sequences"], facts),
        subject=_subject(facts.activations),
        tables=tuple(facts.tables),
        runs=tuple(facts.runs),
        history=facts.history,
    )


def _scores(scores: pl.DataFrame, row: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple(scores.filter(explanation_id=row["explanation_id"]).select(_SCORE).to_dicts())


def _others(explanations: pl.DataFrame, row: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    same = (pl.col("neuron") == row["neuron"]) & (pl.col("polarity") == row["polarity"])
    others = explanations.filter(same & (pl.col("explanation_id") != row["explanation_id"]))
    return tuple(
        others.select("explanation_id", "explainer", "sample_index", "draw", "status", "text").to_dicts()
    )


def _holds(tables: Sequence[TracedTable]) -> bool:
    """Tell whether the explanations are what the study makes of the tables there now."""
    return all(table.is_current for table in tables if table.table == "explanations")


def _corpus(study: Study, sequences: pl.DataFrame, facts: Facts) -> dict[str, Any]:
    return {
        "text": study.corpus.artefact or study.corpus.files,
        "text_revision": facts.text_revision,
        "sequences": len(sequences),
        "documents": sequences["document_id"].n_unique(),
        "sequence_length": study.corpus.sequence_length,
        "seed": study.corpus.seed,
        "sequences_sha256": corpus_hash(sequences),
    }


def _subject(said: Mapping[str, str]) -> dict[str, Any]:
    """Return the model whose activations these are, as the file of its statistics says."""
    made = said.get("made_by")
    return {name: said.get(name) for name in _SAID_BY_FILES} | {"made_by": json.loads(made) if made else None}
