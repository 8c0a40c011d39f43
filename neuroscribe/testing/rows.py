"""One valid row of each table, for tests that care for a few of its columns.

A column that a test does not give holds its value in `USUAL`, else null where that is allowed, else the empty
value of its type. So a new column needs a line here if anything, whatever number of tests make rows.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.tables.columns import Column, Table
from neuroscribe.tables.judged import JUDGEMENTS
from neuroscribe.tables.records import (
    EXPLANATIONS,
    NEURON_RECORDS,
    SAMPLED_ACTIVATIONS,
    SEQUENCES,
    SIMULATIONS,
    TOKEN_LOOKUP,
    VOCABULARY,
)
from neuroscribe.text.token_bytes import display

Row = dict[str, Any]

USUAL: Row = {
    "polarity": 1,
    "kind": "top",
    "explainer": "token_pairs",
    "form": "token_pairs",
    "simulator": "all_at_once",
    "model": "m",
    "split": "test",
    "regime": "corpus",
    "half": "input",
    "sample": "random",
    "status": "ok",
}
"""What a column of this name holds in any table, unless a test says otherwise."""
_EMPTY: dict[Any, object] = {pl.String(): "", pl.Binary(): b"", pl.Boolean(): False}


def row(table: Table, **given: Any) -> Row:
    """Return a row of the table with the values given; raises ValueError for columns that it has not."""
    if unknown := sorted(given.keys() - table.schema.keys()):
        raise ValueError(f"{table.name} has no column {', '.join(unknown)}; it has {', '.join(table.schema)}")
    return {column.name: given.get(column.name, _usual(column)) for column in table.columns}


def filled(table: Table, *rows: Mapping[str, Any]) -> pl.DataFrame:
    """Return the table with these rows, of which each names the columns that matter."""
    return table.frame([row(table, **given) for given in rows])


def explanation_row(neuron: int = 0, index: int = 0, **given: Any) -> Row:
    """Return a neuron's explanation `e<neuron><index>`, which has a text if its status is ok."""
    text = f"text {neuron} {index}" if given.get("status", "ok") == "ok" else None
    usual = {"explanation_id": f"e{neuron}{index}", "neuron": neuron, "sample_index": index, "text": text}
    return row(EXPLANATIONS, **usual | given)


def simulation_row(of: str, neuron: int, sequence: int, values: Sequence[float], **given: Any) -> Row:
    """Return what a simulator expects of a neuron on a sequence, by the explanation `of`."""
    usual = {"explanation_id": of, "neuron": neuron, "sequence_id": sequence, "simulated": list(values)}
    return row(SIMULATIONS, **usual | given)


def judgement_row(
    item: int, label: bool, said: bool | None, probability: float | None = None, **given: Any
) -> Row:
    """Return what a judge said of an excerpt, one token long; None stands for an unreadable answer."""
    place = {"neuron": 1, "scorer": "detection", "item": item, "start": item, "stop": item + 1}
    answer = {"answer": said, "probability": probability, "status": "unparsable" if said is None else "ok"}
    usual = {"explanation_id": "e1", "kind": "firing", "label": label}
    return row(JUDGEMENTS, **usual | place | answer | given)


def exemplar_row(neuron: int, sequence: int, activations: Sequence[float], **given: Any) -> Row:
    """Return a neuron's exemplar, with the peak that its polarity makes of the activations."""
    polarity = given.get("polarity", USUAL["polarity"])
    peak = max(activations, key=lambda value: value * polarity)
    usual = {"neuron": neuron, "sequence_id": sequence, "activations": list(activations)}
    place = {"peak": peak, "peak_position": list(activations).index(peak)}
    return row(NEURON_RECORDS, **usual | place | given)


def sequence_table(
    token_ids: Sequence[Sequence[int]], *, held_out: Container[int] = (), documents: Sequence[int] = ()
) -> pl.DataFrame:
    """Return sequences of these tokens, numbered from 0.

    Each is a document of its own, unless their documents are given; `held_out` names documents.
    """
    places = documents or range(len(token_ids))
    rows = (
        {"sequence_id": n, "token_ids": list(ids), "document_id": place, "held_out": place in held_out}
        for n, (ids, place) in enumerate(zip(token_ids, places, strict=True))
    )
    return filled(SEQUENCES, *rows)


def vocabulary_table(tokens: Sequence[bytes]) -> pl.DataFrame:
    """Return a vocabulary of these tokens, numbered from 0."""
    rows = ({"token_id": n, "bytes": token, "text": display(token)} for n, token in enumerate(tokens))
    return filled(VOCABULARY, *rows)


def sampled_table(activations: Mapping[int, Sequence[float]] | None = None, neuron: int = 1) -> pl.DataFrame:
    """Return a neuron's activations by sequence; of no neuron where none are given."""
    activations = activations or {}
    rows = ({"neuron": neuron, "sequence_id": n, "activations": list(a)} for n, a in activations.items())
    return filled(SAMPLED_ACTIVATIONS, *rows)


def lookup_table(means: Mapping[int, float], neuron: int = 1, **given: Any) -> pl.DataFrame:
    """Return a neuron's mean activation by token, each of one occurrence unless given otherwise."""
    usual = {"neuron": neuron, "count": 1} | given
    rows = ({"token_id": token, "mean": mean, "shrunken_mean": mean} for token, mean in means.items())
    return filled(TOKEN_LOOKUP, *(each | usual for each in rows))


def _usual(column: Column) -> object:
    if column.name in USUAL:
        return USUAL[column.name]
    if column.nullable:
        return None
    return [] if isinstance(column.dtype, pl.List) else _EMPTY.get(column.dtype, 0)
