"""Where an explanation is most wrong on training text, on a corpus small enough to be checked by hand."""

import numpy as np
import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.training_text import TrainingText
from neuroscribe.tables.records import NEURON_RECORDS
from neuroscribe.testing.rows import exemplar_row, sampled_table, sequence_table, vocabulary_table
from neuroscribe.testing.studies import tiny_study

NEURON = (1, 1)
WORDS = (b" the", b" dog", b" cat", b" saw", b" Dog")
TOKENS = [[0, 1], [0, 2], [0, 3], [0, 1], [0, 4], [3, 0], [0, 0]]
ACTIVE = [[0.0, 10.0], [0.0, 8.0], [0.0, 0.0], [0.0, 9.0], [0.0, 7.0], [0.0, 0.0], [0.0, 0.0]]
SPLITS = {0: "train", 3: "test"}


def evidence(documents: list[int] | None = None, held_out: tuple[int, ...] = ()) -> LayerEvidence:
    records = [exemplar_row(1, n, ACTIVE[n], split=split, rank=n) for n, split in SPLITS.items()]
    tables: dict[str, pl.DataFrame] = {
        "corpus/sequences": sequence_table(TOKENS, documents=documents or (), held_out=held_out),
        "corpus/vocabulary": vocabulary_table(WORDS),
        "neuron_records": NEURON_RECORDS.frame(records),
        "sampled_activations": sampled_table(dict(enumerate(ACTIVE))),
    }
    return LayerEvidence(tiny_study(), 0, tables, neurons=[NEURON])


def text(own: LayerEvidence, **given: object) -> TrainingText:
    return TrainingText(own, NEURON, **{"is_table_read": False, **given})  # type: ignore[arg-type]


def places(found: object) -> list[tuple[int, int]]:
    return [(place.sequence_id, place.position) for place in found]  # type: ignore[attr-defined]


def reading(*strong: tuple[int, int]) -> np.ndarray:
    values = np.zeros((len(TOKENS), 2))
    for place in strong:
        values[place] = 5.0
    return values


def test_misses_are_where_it_fires_and_is_not_expected_and_false_alarms_where_it_is_silent() -> None:
    found = text(evidence()).errors(reading((0, 1), (5, 0)), firing=9, silent=9)
    # Sequence 3 is a test exemplar. 0 is expected, and 5 is, though the neuron is silent there.
    assert places(found.firing) == [(1, 1), (4, 1)]
    assert places(found.silent) == [(5, 0)]
    assert found.silent[0].values == (0.0, 0.0)


def test_tokens_that_repeat_a_worse_one_come_last() -> None:
    found = text(evidence()).errors(reading((2, 1)), firing=2, silent=1)
    # " Dog" is " dog" again, whatever its case; " cat" is weaker and another token.
    assert places(found.firing) == [(0, 1), (1, 1)]
    assert places(text(evidence()).errors(reading((2, 1)), firing=3, silent=0).firing)[-1] == (4, 1)


def test_one_place_of_a_document_is_enough() -> None:
    found = text(evidence(documents=[0, 0, 1, 2, 3, 4, 5])).errors(reading(), firing=9, silent=9)
    assert places(found.firing) == [(0, 1), (4, 1)]


def test_a_reading_that_is_the_same_everywhere_has_misses_and_no_false_alarms_but_by_the_mean() -> None:
    found = text(evidence()).errors(reading(), firing=9, silent=0)
    assert places(found.firing) == [(0, 1), (1, 1), (4, 1)]


def test_a_reading_that_is_the_truth_has_no_errors() -> None:
    found = text(evidence()).errors(np.array(ACTIVE) / 2, firing=9, silent=9)
    assert (found.firing, found.silent) == ((), ())


def test_what_was_shown_already_is_left_out() -> None:
    found = text(evidence(), without=[0]).errors(reading(), firing=9, silent=0)
    assert places(found.firing) == [(1, 1), (4, 1)]


def test_documents_of_exemplars_that_score_are_never_shown() -> None:
    own = evidence(documents=[0, 1, 2, 3, 3, 3, 4])
    found = text(own).drawn("seed", firing=9, silent=9)
    assert {place.sequence_id for place in (*found.firing, *found.silent)} == {0, 1, 2, 6}


def test_beside_a_token_table_the_documents_that_it_is_not_learned_from_are_never_shown() -> None:
    own = evidence(held_out=(0, 1, 2))
    found = text(own, is_table_read=True).drawn("seed", firing=9, silent=9)
    assert {place.sequence_id for place in (*found.firing, *found.silent)} == {3, 4, 5, 6}


def test_what_is_drawn_follows_from_the_seed_and_peaks_where_it_fires() -> None:
    one, same, other = (text(evidence()).drawn(seed, firing=9, silent=9) for seed in "aab")
    assert one == same != other
    assert {place.position for place in one.firing} == {1}
    assert sorted(one.sequence_ids) == sorted(other.sequence_ids) == [0, 1, 2, 4, 5, 6]
    assert len(text(evidence()).drawn("a", firing=1, silent=2).sequence_ids) == 3


def test_of_a_neuron_that_was_not_kept_there_is_nothing() -> None:
    found = TrainingText(evidence(), (2, 1), is_table_read=False)
    assert found.errors(np.zeros((0, 2)), firing=3, silent=3).sequence_ids == ()
    assert found.drawn("a", firing=3, silent=3).sequence_ids == ()
