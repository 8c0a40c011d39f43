"""Several explainers of known neurons: chosen on `valid` by what costs nothing, the best read by the dear.

`token_match` costs nothing and decides; in the place of a model that is asked stands the same, which counts.
"""

import asyncio
from collections.abc import Sequence
from functools import cache

import numpy as np
import polars as pl
import pytest

from neuroscribe.describe.stage import described_layer
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.replies import Simulated
from neuroscribe.score.stage import scored_layer
from neuroscribe.simulate.questions import questions, simulation_tasks
from neuroscribe.simulate.stage import simulated
from neuroscribe.simulate.token_match import TokenMatchSimulator
from neuroscribe.simulate.whole import ranked_out, whole_corpus
from neuroscribe.study.spec import Study
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.text.listed_tokens import token_list
from tests.neuroscribe.score.known_layer import (
    DOCUMENTS,
    HELD_OUT,
    LETTERS,
    TOKENS,
    Layer,
    known_study,
    only,
    truth,
)
from tests.neuroscribe.score.known_layer import explained as explanation
from tests.neuroscribe.simulate.answering import NoEncoders

ALL = ["token_pairs", "highlights", "token_list"]
RIGHT = {1: "b", 2: "c", 3: "d", 4: "a"}
WRONG = {1: "ac", 2: "bd", 3: "ab", 4: "cd"}
LISTED = {1: "bc", 2: "a", 3: "bd", 4: "a"}
"""The list of 1 and 3 is half right, that of 2 wrong, and that of 4 right."""


class Counting(TokenMatchSimulator):
    """Reads as the other one does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        self.asked.append(explanation)
        return await super().simulate(explanation, sequences)


def study(count: int | None = 1) -> Study:
    simulators = {name: {"explainers": ALL} for name in ("all_at_once", "token_match")}
    scoring = {} if count is None else {"simulated_candidates": count}
    return known_study(explainers={name: {} for name in ALL}, simulators=simulators, scoring=scoring)


def layer(of: Study) -> Layer:
    texts = {"token_pairs": WRONG, "highlights": RIGHT, "token_list": LISTED}
    rows = [
        explanation(neuron, token_list(letters), explainer=explainer, explanation_id=f"{explainer} {neuron}")
        | ({"sequence_ids": []} if explainer == "token_list" else {})
        for explainer, by_neuron in texts.items()
        for neuron, letters in by_neuron.items()
    ]
    return Layer(rows, of)


@cache
def read(count: int | None = 1) -> tuple[list[str], pl.DataFrame, pl.DataFrame]:
    """What the dear simulator was asked, the scores and the descriptions."""
    of = study(count)
    evidence, asking = layer(of).evidence(), Counting()
    without = ranked_out(evidence, whole_corpus(evidence, NoEncoders(), SilentProgress()))
    tasks = {name: simulation_tasks(evidence, name, without=without) for name in of.simulators}
    simulators = {"all_at_once": asking, "token_match": TokenMatchSimulator()}
    made = asyncio.run(
        simulated(evidence, tasks, simulators=simulators, calls=MemoryCalls(), progress=SilentProgress())
    )
    scores = scored_layer(
        layer(of).evidence(simulations=made), encoders=NoEncoders(), progress=SilentProgress()
    )
    described = described_layer(layer(of).evidence(scores=scores))
    return asking.asked, scores, described


def test_the_right_text_describes_and_what_needs_no_model_where_it_is_as_good():
    _, _, described = read()
    chosen = described.select("neuron", "explainer", "by_llm", "why").rows()
    better = "better on valid than token_list, the best without a language model"
    assert chosen == [
        *((neuron, "highlights", True, better) for neuron in (1, 2, 3)),
        (4, "token_list", False, "no language model's text was better on valid than token_list"),
    ]
    assert described["llm_explanation_id"].to_list() == [f"highlights {neuron}" for neuron in RIGHT]


def test_the_choice_rests_on_half_of_the_documents_and_the_score_on_the_other():
    evidence = layer(study()).evidence()
    row = evidence.usable("highlights")[0]
    halves = {split: evidence.population(row, split).sequence_ids.tolist() for split in ("valid", "test")}
    documents = {split: {DOCUMENTS[own] for own in ids} for split, ids in halves.items()}
    assert not documents["valid"] & documents["test"]
    _, scores, _ = read()
    fires = 10.0 * (np.array(TOKENS) == LETTERS.index("b"))
    for split, ids in halves.items():
        wanted = np.corrcoef(truth(1)[ids].ravel(), fires[ids].ravel())[0, 1]
        found = only(scores, "highlights 1", "correlation_token_match", split=split)
        assert found["value"] == pytest.approx(wanted)
        assert found["n_sequences"] == len(ids)


def test_explainers_that_are_shown_a_table_are_chosen_on_held_out_documents():
    evidence = layer(study()).evidence()
    ids = evidence.population(evidence.usable("token_list")[0], "valid").sequence_ids.tolist()
    assert {DOCUMENTS[own] for own in ids} <= HELD_OUT
    assert ids


def test_only_the_simulator_that_decides_has_scores_on_valid_and_over_the_corpus_alone():
    _, scores, _ = read()
    valid = scores.filter(split="valid")
    assert set(valid["scorer"].str.split("_").list.slice(1).list.join("_")) == {"token_match"}
    assert set(valid["regime"]) == {"corpus"}
    assert valid["value"].null_count() == 0


def test_what_is_asked_reads_the_best_text_of_models_and_all_that_need_none():
    asked, scores, _ = read()
    wrong, listed = ({token_list(letters) for letters in texts.values()} for texts in (WRONG, LISTED))
    right = {token_list(letters) for letters in RIGHT.values()}
    assert set(asked) == right | listed
    spared = only(scores, "token_pairs 1")
    assert (spared["value"], spared["null_reason"]) == (None, "not among the best 1 by token_match")
    assert only(scores, "token_pairs 1", "correlation_token_match")["value"] is not None
    assert only(scores, "highlights 1")["value"] > 0.5
    everything, every, _ = read(None)
    assert set(everything) == right | listed | wrong
    assert only(every, "token_pairs 1")["value"] < 0.1


def test_the_plan_counts_as_many_texts():
    evidence = LayerEvidence(study(), 0, layer(study()).evidence().tables)
    every = LayerEvidence(study(None), 0, evidence.tables)
    texts = [{question.text for question in questions(of, "all_at_once")} for of in (evidence, every)]
    # Which are the best is not known: the first explainer's stand for them.
    assert texts[0] == {token_list(letters) for of in (WRONG, LISTED) for letters in of.values()}
    assert texts[1] == texts[0] | {token_list(letters) for letters in RIGHT.values()}
