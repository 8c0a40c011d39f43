"""Token lookup as a ceiling: what tokens let one expect, learned from all documents but the scored one."""

import numpy as np
import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.lookup import extreme_tokens, left_out_lookup
from neuroscribe.tables.records import TOKEN_LOOKUP
from neuroscribe.testing.rows import filled, sampled_table, sequence_table
from neuroscribe.testing.studies import tiny_study

TOKENS = np.array([[7, 3], [7, 3], [7, 5], [3, 3]])
VALUES = np.array([[1.0, 2.0], [3.0, 4.0], [8.0, 9.0], [0.0, 6.0]])
DOCUMENTS = np.array([0, 0, 1, 2])


def test_a_token_is_expected_to_do_what_it_does_in_other_documents() -> None:
    expected = left_out_lookup(TOKENS, VALUES, DOCUMENTS)
    # Token 7 of document 0: only document 1 has it elsewhere, with 8; 3: document 2 has 0 and 6.
    assert expected[:2].tolist() == [[8.0, 3.0], [8.0, 3.0]]
    # Token 7 of document 1: 1 and 3 of document 0, although these are sequences of one document.
    assert expected[2, 0] == 2.0
    assert expected[3].tolist() == [3.0, 3.0]


def test_a_token_of_one_document_alone_gets_the_mean_over_all_tokens_of_the_others() -> None:
    assert left_out_lookup(TOKENS, VALUES, DOCUMENTS)[2, 1] == np.mean([1, 2, 3, 4, 0, 6])


def test_without_another_document_nothing_is_known() -> None:
    assert np.isnan(left_out_lookup(TOKENS, VALUES, np.zeros(4, dtype=np.int64))).all()
    assert left_out_lookup(TOKENS[:0], VALUES[:0], DOCUMENTS[:0]).shape == (0, 2)


def test_what_rounding_leaves_over_is_no_activation() -> None:
    tokens, third = np.array([[1, 1], [1, 1]]), 2.0**-30 / 3
    values = np.array([[1.0, third], [0.0, 0.0]])
    assert (1.0 + third) - 1.0 - third != 0
    assert left_out_lookup(tokens, values, np.array([0, 1]))[0].tolist() == [0.0, 0.0]


def evidence(polarities: str) -> LayerEvidence:
    study = tiny_study(capture={"polarities": polarities})
    tables = {
        "corpus/sequences": sequence_table([[9, 9], *TOKENS.tolist()], documents=[5, 0, 0, 1, 2]),
        "sampled_activations": sampled_table({1: [1.0, -2.0], 3: [3.0, 4.0], 4: [-8.0, 9.0]}),
    }
    return LayerEvidence(study, 0, tables)


def test_the_truth_is_the_explained_side_on_all_sequences_that_were_kept() -> None:
    kept = evidence("both").truth((1, -1))
    assert kept.sequence_ids.tolist() == [1, 3, 4]
    assert kept.values.tolist() == [[0, 2], [0, 0], [8, 0]]
    assert evidence("positive").truth((1, 1)).values.tolist() == [[1, -2], [3, 4], [-8, 9]]


def test_the_ceiling_stands_on_the_sequences_of_the_truth() -> None:
    own = evidence("positive")
    # Tokens [7, 3], [7, 5] and [3, 3] of documents 0, 1 and 2; token 5 gets the mean of 1, -2, -8 and 9.
    assert own.ceiling((1, 1)).tolist() == [[3, 0.5], [1, 0], [-2, -2]]
    read = own.looked_up((1, 1), [4, 1])
    assert read is not None
    assert read.tolist() == [[-2, -2], [3, 0.5]]


def test_there_is_no_ceiling_where_neuron_or_sequence_was_not_kept() -> None:
    own = evidence("positive")
    assert own.looked_up((1, 1), [1, 2]) is None
    assert own.looked_up((0, 1), [1]) is None
    assert own.looked_up((1, 1), []) is None
    assert len(own.truth((0, 1)).sequence_ids) == len(own.ceiling((0, 1))) == 0


def table(pairs: dict[int, tuple[int, float]]) -> pl.DataFrame:
    return filled(
        TOKEN_LOOKUP,
        *({"token_id": token, "count": count, "mean": mean} for token, (count, mean) in pairs.items()),
    )


def test_the_extreme_tokens_are_those_with_the_largest_and_smallest_means() -> None:
    own = table({3: (5, 1.0), 4: (9, -2.0), 5: (4, 99.0), 6: (7, 0.5), 7: (5, 0.5)})
    found = extreme_tokens(own, count=2, at_least=5)
    assert found.select("token_id", "end").rows() == [(3, "top"), (6, "top"), (4, "bottom"), (6, "bottom")]
    assert found["mean"].to_list() == [1.0, 0.5, -2.0, 0.5]
