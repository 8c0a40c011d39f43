"""What is shown as counter-evidence, by hand: "red" fires after "dark", and stays silent elsewhere."""

from typing import Any

import polars as pl

from neuroscribe.evidence.exemplars import banded_exemplars
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.evidence import shown_excerpts
from neuroscribe.explain.explainer import Before
from neuroscribe.explain.highlights import Highlights
from neuroscribe.explain.near_misses import near_misses
from neuroscribe.explain.phrase_summary import PhraseSummary
from neuroscribe.tables.records import NEURON_RECORDS, SAMPLED_ACTIVATIONS
from neuroscribe.testing.rows import exemplar_row, filled, sequence_table, vocabulary_table
from neuroscribe.testing.studies import tiny_study

WORDS = (b"a", b" dark", b" red", b" sea", b" not", b" blue")
SEQUENCES = [
    (0, 1, 2, 3),  # 0: "a dark red sea", the exemplar
    (0, 4, 2, 3),  # 1: silent, "a not red sea"
    (4, 1, 2, 3),  # 2: silent, "not dark red sea": two tokens before are not the same, one is
    (0, 1, 2, 4),  # 3: silent, and both are the same
    (3, 4, 2, 3),  # 4: silent, but an exemplar of the test split
    (0, 1, 2, 5),  # 5: silent, but in the document of the exemplar
    (0, 1, 2, 3),  # 6: fires elsewhere in the excerpt
    (0, 1, 5, 3),  # 7: without the token
]
DOCUMENTS = (0, 1, 2, 3, 4, 0, 6, 7)
VALUES = {0: (0.0, 0.0, 8.0, 0.0), 6: (0.0, 4.0, 0.0, 0.0)}
NEURON = (1, 1)


def evidence(*more: dict[str, Any]) -> LayerEvidence:
    exemplars = [
        exemplar_row(1, 0, VALUES[0], split="train", rank=0),
        exemplar_row(1, 4, [0.0] * 4, split="test", rank=1),
    ]
    kept = [
        {"neuron": 1, "sequence_id": sequence, "activations": list(VALUES.get(sequence, (0.0,) * 4))}
        for sequence in range(len(SEQUENCES))
    ]
    tables = {
        "corpus/sequences": sequence_table(SEQUENCES, documents=DOCUMENTS),
        "corpus/vocabulary": vocabulary_table(WORDS),
        "neuron_records": filled(NEURON_RECORDS, *exemplars, *more),
        "sampled_activations": filled(SAMPLED_ACTIVATIONS, *kept),
    }
    return LayerEvidence(tiny_study(), 0, tables, neurons=[NEURON])


def test_silent_places_of_a_peak_token_are_shown_the_nearest_text_first() -> None:
    own = evidence()
    shown = shown_excerpts(own, NEURON, 5, 4)
    found = near_misses(own, NEURON, shown, count=5, length=4)

    assert found.sequence_ids == (3, 2, 1)
    assert found.excerpts[2] == (("a", 0), (" not", 0), (" red", 10), (" sea", 0))
    assert near_misses(own, NEURON, shown, count=1, length=4).sequence_ids == (3,)


def test_near_misses_count_as_seen_and_have_their_heading() -> None:
    asked = Highlights(excerpts=1, excerpt_tokens=4, near_misses=2).shown(evidence(), NEURON, Before())

    assert asked.sequence_ids == (0, 3, 2)
    assert asked.messages[-2].content == (
        '1. a dark << red >> sea\nMarked: "red"\nNot on the words in [[ ]]:\n'
        "1. a dark [[ red ]] not\n2. not dark [[ red ]] sea"
    )


def band(sequence: int, rank: int, peak: float, high: float) -> dict[str, Any]:
    values = (0.0, 0.0, 0.0, peak)
    place = {"kind": "quantile", "split": "train", "rank": rank, "quantile_low": 0.0, "quantile_high": high}
    return exemplar_row(1, sequence, values, **place)


def test_bands_take_turns_the_highest_first() -> None:
    every = [band(1, 0, 1.0, 2.0), band(2, 1, 2.0, 2.0), band(3, 2, 4.0, 6.0), band(7, 3, 0.0, 6.0)]
    rows = evidence(*every).tables["neuron_records"]

    assert banded_exemplars(rows, 3)["sequence_id"].to_list() == [3, 1, 2]
    assert banded_exemplars(rows, 2, draw=1)["sequence_id"].to_list() == [2]
    shown = shown_excerpts(evidence(*every), NEURON, 1, 4, scale="excerpt", bands=2)
    assert shown.sequence_ids == (0, 3, 1)
    assert shown.strengths == (10, 5, 1)
    assert shown.excerpts[2][-1] == (" sea", 10)


def test_phrases_end_where_a_neuron_peaks() -> None:
    asked = PhraseSummary(excerpts=1, bands=1).shown(evidence(band(3, 0, 4.0, 6.0)), NEURON, Before())

    assert asked.sequence_ids == (0, 3)
    assert asked.messages[-2].content == "1. a dark red\n2. dark red not"


def test_a_neuron_that_fires_nowhere_is_not_asked_about() -> None:
    silent = pl.col("activations").list.eval(pl.element() * 0)
    own = evidence()
    records = own.tables["neuron_records"].with_columns(activations=silent, peak=pl.lit(0.0, pl.Float32))
    bare = LayerEvidence(own.study, 0, {**own.tables, "neuron_records": records}, neurons=[NEURON])

    assert PhraseSummary().shown(bare, NEURON, Before()).messages == ()
    assert Highlights(near_misses=1).shown(bare, NEURON, Before()).messages == ()
