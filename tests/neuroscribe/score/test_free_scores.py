"""Simulators that cost nothing score the whole population; controls and held-out documents with them."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import t

from neuroscribe.score.corpus import CorpusScores
from neuroscribe.text.listed_tokens import token_list
from tests.neuroscribe.score.known_layer import (
    DOCUMENTS,
    HELD_OUT,
    LETTERS,
    NEURONS,
    SEQUENCES,
    TOKENS,
    Layer,
    explained,
    known_study,
    only,
    pearson,
    truth,
    unseen,
)

MATCHED = "correlation_token_match"
TEXTS = [
    token_list(letters)
    for letters in ("a", "b", "c", "d", "ab", "ac", "ad", "bc", "bd", "cd", "abc", "abd", "bcd")
]
"""A text for each neuron, by whose number modulo 4 its letter is known."""


def matched(text: str) -> np.ndarray:
    """10 on each token that a text names."""
    named = [LETTERS.index(letter) for letter in LETTERS if f'"{letter}"' in text]
    return 10.0 * np.isin(TOKENS, named)


def layer(explainer: str = "token_pairs", neurons: Sequence[int] = range(NEURONS)) -> Layer:
    study = known_study(
        explainers={explainer: {}},
        simulators={"token_match": {"explainers": [explainer]}},
    )
    shown = {"sequence_ids": []} if explainer == "token_list" else {}
    texts = {neuron: TEXTS[neuron] for neuron in neurons} | {1: token_list("b")}
    return Layer([explained(own, text, explainer=explainer, **shown) for own, text in texts.items()], study)


def test_all_sequences_of_the_population_are_scored_and_the_interval_is_that_of_other_text() -> None:
    own = layer(neurons=[1])
    population = unseen(own.explanations[0])
    row = only(own.scores(), "e10", MATCHED)
    assert row["value"] == pytest.approx(
        np.corrcoef(truth(1)[population].ravel(), matched(TEXTS[1])[population].ravel())[0, 1]
    )
    assert row["n_sequences"] == len(population) < SEQUENCES
    assert row["ci_low"] + 0.02 < row["value"] < row["ci_high"] - 0.02


def test_an_explanation_without_a_fault_has_an_interval_with_a_width() -> None:
    scores = CorpusScores(layer(neurons=[1]).evidence(), {"token_match": lambda _: truth(1)})
    found = scores.of(explained(1, "all of it"), "token_match", "test")["correlation"].estimate
    assert found.value == pytest.approx(1)
    assert found.ci_high == pytest.approx(1)
    assert found.ci_low == pytest.approx(0.98, abs=0.015)


def test_a_text_that_is_no_list_says_at_how_many_tokens_it_cannot_be_read() -> None:
    own = layer(neurons=[])
    scores = Layer([explained(1, "no list")], own.study).scores()
    row, n = only(scores, "e10", MATCHED), len(unseen(explained(1, "")))
    assert (row["value"], row["null_reason"]) == (None, f"no readable value at {4 * n} of {4 * n} tokens")


def test_explanations_made_of_a_table_are_scored_on_held_out_documents_alone() -> None:
    own = layer("token_list", [1])
    held_out = [sequence for sequence in range(SEQUENCES) if DOCUMENTS[sequence] in HELD_OUT]
    simulations = own.simulated()
    scores = own.scores(simulations)
    row = only(scores, "e10", MATCHED)
    assert row["n_sequences"] == len(held_out) == SEQUENCES / 5
    assert row["value"] == pytest.approx(pearson(truth(1)[held_out], matched(TEXTS[1])[held_out]))
    # And so are the paper's regimes: of the top stratum of these, two at even distances.
    assert set(simulations["sequence_id"]) <= set(held_out)
    ranked = np.array(held_out)[np.argsort(-truth(1)[held_out].max(1), kind="stable")][:4]
    assert set(ranked[[1, 3]]) <= set(simulations["sequence_id"])
    assert only(scores, "e10", MATCHED, regime="top_and_random")["n_sequences"] == 4


def test_ten_controls_are_drawn_and_each_is_scored_on_what_its_own_explainer_did_not_see() -> None:
    own = layer()
    evidence = own.evidence(simulations=own.simulated())
    row = only(own.scores(), "e10", MATCHED)
    drawn = evidence.controls("token_pairs", count=10)[1, 1]
    population = set(unseen(own.explanations[1]).tolist())
    scores = []
    for control in drawn:
        ids = sorted(population & set(unseen(control).tolist()))
        scores.append(pearson(truth(1)[ids], matched(control["text"])[ids]))
    assert len(drawn) == row["n_controls"] == 10
    assert len({control["text"] for control in drawn} | {TEXTS[1]}) == 11
    assert row["control"] == pytest.approx(np.mean(scores))
    assert row["value"] > max(scores)
    # The tail of Student's t beyond the own score, as that of one more control; by rank it is at most 1 / 11.
    distance = (row["value"] - np.mean(scores)) / (np.std(scores, ddof=1) * np.sqrt(1.1))
    assert row["p"] == pytest.approx(min(1 / 11, t.sf(distance, 9)))


def test_a_control_that_is_as_good_makes_a_p_by_rank() -> None:
    # The letter of neuron 5 is b, and its text names a and c.
    own = layer()
    simulations = own.simulated()
    row = only(own.scores(simulations), "e50", MATCHED)
    drawn = own.evidence(simulations=simulations).controls("token_pairs", count=10)[5, 1]
    population = set(unseen(own.explanations[5]).tolist())
    better = 0
    for control in drawn:
        ids = sorted(population & set(unseen(control).tolist()))
        better += pearson(truth(5)[ids], matched(control["text"])[ids]) >= row["value"]
    assert better >= 3
    assert row["p"] == pytest.approx((1 + better) / 11)


def test_no_explainer_of_a_control_has_seen_a_document_on_which_the_neuron_is_tested() -> None:
    own = layer()
    evidence = own.evidence(simulations=own.simulated())
    for (neuron, _), drawn in evidence.controls("token_pairs", count=10).items():
        tested = {DOCUMENTS[n] for n in evidence.control_exemplars(own.explanations[neuron]).sequence_ids}
        assert len(tested) >= 2
        for control in drawn:
            assert control["neuron"] != neuron
            assert tested.isdisjoint(DOCUMENTS[sequence] for sequence in control["sequence_ids"])


def test_one_whose_explainer_saw_a_tested_document_is_no_control() -> None:
    own = layer(neurons=[1, 2])
    evidence = own.evidence(simulations=own.simulated())
    tested = evidence.control_exemplars(own.explanations[0]).sequence_ids
    beside = tested[0] ^ 1  # the other sequence of that document
    seen = [own.explanations[0], {**own.explanations[1], "sequence_ids": [beside]}]
    found = Layer(seen, own.study).evidence().controls("token_pairs", count=10)
    assert (1, 1) in evidence.controls("token_pairs", count=10)
    assert (1, 1) not in found
