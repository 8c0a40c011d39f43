"""Of an explanation's parts, each read by itself, the largest value counts at each token."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.evidence.texts import read_texts
from neuroscribe.ports.replies import Simulated, Usage
from neuroscribe.score.agreement import Agreement
from neuroscribe.simulate.parts import largest
from neuroscribe.simulate.questions import Question, simulation_tasks
from neuroscribe.simulate.token_match import TokenMatch
from neuroscribe.study.dues import dues
from neuroscribe.tables.records import SCORES
from neuroscribe.testing.rows import explanation_row
from neuroscribe.testing.stores import MemoryCalls
from neuroscribe.text.listed_tokens import token_list
from tests.neuroscribe.score.known_layer import (
    LETTERS,
    TOKENS,
    Layer,
    explained,
    known_study,
    only,
    pearson,
    truth,
    unseen,
)

FREE = known_study(
    explainers={"token_pairs": {}},
    simulators={"embedding": {"model": "m", "explainers": ["token_pairs"]}},
)
LISTS = known_study(
    explainers={"token_pairs": {}},
    simulators={"token_match": {"explainers": ["token_pairs"]}},
)
SCORED = "correlation_embedding"


class Letters:
    """Costs nothing, and reads a text as the letters in it: 10 on each of them."""

    identity, calls_at_once, keeps_calls, sequences_per_call = "letters", 1, False, 8

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        return [
            Simulated(tuple(10.0 * (token.decode() in explanation) for token in tokens), None)
            for tokens in sequences
        ]


def lettered(*texts: str) -> np.ndarray:
    """The same of the whole corpus, and of each text by itself."""
    return np.maximum.reduce(
        [
            10.0 * np.isin(TOKENS, [place for place, own in enumerate(LETTERS) if own in text])
            for text in texts
        ]
    )


def scores(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The scores of some explanations on the paper's regimes and over the corpus."""
    layer = Layer(rows, FREE, {"embedding": Letters()})
    evidence = layer.evidence(simulations=layer.simulated())
    agreement = Agreement(evidence, {"embedding": lettered})
    return SCORES.frame([row for due in dues(FREE) for row in agreement.rows(due)])


def test_the_largest_value_counts_and_what_a_part_cannot_tell_is_not_known() -> None:
    one = Simulated((1.0, 5.0, math.nan), 0.9, "unparsable", Usage(10, 0, 2, 0.25), "first", 1)
    other = Simulated((3.0, 2.0, 7.0), 0.8, "ok", Usage(20, 4, 3, 0.5), "second", 2)
    (found,) = largest([[one], [other]])
    assert found.activations[:2] == (3.0, 5.0)
    assert math.isnan(found.activations[2])
    assert (found.valid_fraction, found.status, found.unmatched_words) == (0.8, "unparsable", 3)
    assert found.usage == Usage(30, 4, 5, 0.75)
    assert found.raw == "first\nsecond"


def test_a_single_reading_stays_what_it_is() -> None:
    alone = Simulated((1.0,), None)
    assert largest([[alone]])[0] is alone


def test_a_text_without_parts_is_read_as_a_whole_and_so_is_one_that_is_not_read_apart() -> None:
    row = explanation_row(1, text="one; other", parts=["one", "other"])
    assert read_texts(row) == ("one", "other")
    assert read_texts(row, apart=False) == ("one; other",)
    assert read_texts(explanation_row(1, text="whole")) == ("whole",)


def test_parts_score_as_what_names_them_all_in_all_regimes_and_so_do_controls() -> None:
    apart = [explained(1, "-", parts=["a", "b"]), explained(2, "--", parts=["b", "d"])]
    whole = [explained(1, "ab"), explained(2, "bd")]
    found, wanted = scores(apart), scores(whole)
    for regime in ("corpus", "top_and_random", "random_only"):
        one, other = (only(each, "e10", SCORED, regime=regime) for each in (found, wanted))
        assert one["value"] == other["value"]
        assert one["control"] == other["control"] is not None
    population = unseen(apart[0])
    assert only(found, "e10", SCORED)["value"] == pytest.approx(
        pearson(truth(1)[population], lettered("ab")[population])
    )


def test_what_costs_nothing_reads_all_parts_in_one_answer() -> None:
    apart, whole = MemoryCalls(), MemoryCalls()
    Layer([explained(1, "-", parts=["a", "b"])], FREE, {"embedding": Letters()}).simulated(apart)
    Layer([explained(1, "ab")], FREE, {"embedding": Letters()}).simulated(whole)
    assert len(apart.answers) == len(whole.answers) > 0


def test_a_list_of_tokens_is_matched_by_its_text() -> None:
    text = token_list("ab")
    apart, whole = (
        Layer([explained(1, text, parts=parts)], LISTS).scores() for parts in (['the end of "a"'], None)
    )
    assert only(apart, "e10", "correlation_token_match") == only(whole, "e10", "correlation_token_match")


def test_the_key_of_a_question_without_parts_is_what_it_was() -> None:
    spec = TokenMatch(explainers=("token_pairs",))
    plain = Question("words", ((b"a",),), spec)
    assert plain.key("x") == Question("words", ((b"a",),), spec, ()).key("x")
    assert plain.key("x") != Question("words", ((b"a",),), spec, ("words", "more")).key("x")


def test_one_that_is_asked_reads_the_text_unless_the_explainer_says_otherwise() -> None:
    layer = Layer([explained(1, "1 0.1; 2 0.1", parts=["1 0.1", "2 0.1"])], known_study())
    assert {task.parts for task in simulation_tasks(layer.evidence(), "all_at_once")} == {()}
