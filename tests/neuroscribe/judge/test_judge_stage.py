import asyncio
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.errors import LLMError
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.judge.stage import judged_layer
from neuroscribe.ports.replies import Usage
from neuroscribe.study.spec import Study
from neuroscribe.tables.judged import JUDGEMENTS
from neuroscribe.tables.records import EXPLANATIONS, NEURON_RECORDS
from neuroscribe.testing.rows import exemplar_row, explanation_row, sequence_table, vocabulary_table
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study

LENGTH = 16
TOP = {"train": (0, 4), "valid": (1, 2), "test": (3, 5)}
RANDOM = {"valid": (90, 91), "test": (92, 93)}
"""Sequences by split; the top ones of neuron n are 10 n higher."""


class Said:
    """An LLM that says yes, and remembers what it was shown."""

    identity, calls_at_once = "said", 3

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.checked = 0

    async def reply(self, messages: Any, **_: Any) -> Any:
        from neuroscribe.ports.replies import Reply

        self.shown.append(messages[-1].content)
        await asyncio.sleep(0)
        return Reply("yes", "ok", "", Usage(100, 0, 1))

    async def check(self, samples: object = ()) -> None:
        self.checked += 1


class Models:
    """Opens that LLM and an encoder; counts."""

    def __init__(self) -> None:
        self.llm, self.opened = Said(), 0

    def open(self, spec: Any, *, progress: Any = None, beside: Any = None) -> Any:
        del spec, progress, beside
        self.opened += 1
        return self.llm


class Encoders:
    identity = "hash"

    def open(self, spec: Any, *, progress: Any = None) -> Any:
        del spec, progress
        return self

    def sentence(self, text: str) -> np.ndarray:
        return np.array([len(text) % 7, 1.0]) / np.linalg.norm([len(text) % 7, 1.0])

    def pieces(self, text: str) -> Any:
        return [], np.zeros((0, 2))


def study(scorers: dict[str, Any], candidates: int = 1) -> Study:
    return tiny_study(
        corpus={"sequence_length": LENGTH},
        explainers={"token_pairs": {"candidates": candidates}},
        simulators={"embedding": {"explainers": ["token_pairs"]}},
        scorers=scorers,
    )


def evidence(own: Study, explanations: list[dict[str, Any]]) -> LayerEvidence:
    rows: list[dict[str, Any]] = []
    for neuron in (1, 2):
        for kind, splits, shift in (("top", TOP, 10 * neuron), ("random", RANDOM, 0)):
            pairs = [(split, sequence + shift) for split, ids in splits.items() for sequence in ids]
            for rank, (split, sequence) in enumerate(pairs):
                values = [0.0] * LENGTH
                values[neuron] = 5.0 if kind == "top" else 0.1
                rows.append(exemplar_row(neuron, sequence, values, kind=kind, split=split, rank=rank))
    token_ids = [[(place + sequence) % 26 for place in range(LENGTH)] for sequence in range(100)]
    tables = {
        "corpus/sequences": sequence_table(token_ids),
        "corpus/vocabulary": vocabulary_table([b" " + bytes([97 + token]) for token in range(26)]),
        "neuron_records": NEURON_RECORDS.frame(rows),
        "explanations": EXPLANATIONS.frame(explanations),
    }
    return LayerEvidence(own, 0, tables)


def explanation(neuron: int, index: int = 0, **given: Any) -> dict[str, Any]:
    seen = [own + 10 * neuron for own in TOP["train"]]
    return explanation_row(neuron, index, **{"sequence_ids": seen} | given)


DETECTION = {"detection": {"explainers": ["token_pairs"], "excerpt_tokens": 8}}
BOTH = [explanation(1), explanation(2)]


def judgements(
    own: Study,
    explanations: list[dict[str, Any]],
    models: Models | None = None,
    calls: MemoryCalls | None = None,
    progress: SilentProgress | None = None,
) -> pl.DataFrame:
    return asyncio.run(
        judged_layer(
            evidence(own, explanations),
            llm=models or Models(),
            encoders=Encoders(),
            calls=calls or MemoryCalls(),
            progress=progress or SilentProgress(),
        )
    )


def owner(name: str) -> Neuron:
    return (int(name[1]), 1)


def test_each_explanation_is_judged_on_its_test_excerpts_and_then_on_its_controls() -> None:
    found = judgements(study(DETECTION), BOTH)
    assert not found.select(JUDGEMENTS.key).is_duplicated().any()
    pairs = found.select("explanation_id", "neuron", "split").unique(maintain_order=True).rows()
    assert pairs == [("e10", 1, "test"), ("e20", 2, "test"), ("e20", 1, "test"), ("e10", 2, "test")]
    own = found.filter(explanation_id="e10", neuron=1)
    control = found.filter(explanation_id="e20", neuron=1)
    same = ["sequence_id", "item", "start", "stop", "kind", "label"]
    assert own.select(same).equals(control.select(same))
    assert own["label"].to_list() == [True, True, False, False]


def test_no_excerpt_is_of_a_sequence_that_an_explainer_saw_or_of_another_split() -> None:
    rows = [explanation(neuron, index) for neuron in (1, 2) for index in (0, 1)]
    scorers = DETECTION | {"fuzzing": {"explainers": ["token_pairs"], "excerpt_tokens": 8}}
    found = judgements(study(scorers, candidates=2), rows)
    seen = {row["explanation_id"]: set(row["sequence_ids"]) for row in rows}
    for row in found.iter_rows(named=True):
        assert row["sequence_id"] not in seen[row["explanation_id"]]
        shift = 10 * row["neuron"]
        there = {own + shift for own in TOP[row["split"]]} | set(RANDOM[row["split"]])
        assert row["sequence_id"] in there
    assert set(found["split"]) == {"valid", "test"}
    control = found.filter(pl.col("explanation_id").str.slice(1, 1).cast(pl.Int32) != pl.col("neuron"))
    assert set(control["split"]) == {"test"}


def test_a_control_that_saw_a_tested_sequence_is_not_used() -> None:
    other = explanation(2, sequence_ids=[20, 13, 15])
    assert not len(
        judgements(study(DETECTION), [explanation(1), other]).filter(neuron=1, explanation_id="e20")
    )


def test_explanations_without_a_text_are_not_judged_and_nothing_is_asked_in_vain() -> None:
    models = Models()
    found = judgements(study(DETECTION), [explanation(1, status="refused")], models)
    assert len(found) == 0
    assert models.llm.shown == []


def test_what_was_shown_is_what_the_table_says() -> None:
    models = Models()
    found = judgements(study(DETECTION), [explanation(1)], models)
    letters = [
        "".join(
            f" {chr(97 + (place + row['sequence_id']) % 26)}" for place in range(row["start"], row["stop"])
        )
        for row in found.iter_rows(named=True)
    ]
    assert set(models.llm.shown) == {f"Excerpt: {text.strip()}" for text in letters}
    assert len(models.llm.shown) == len(set(letters))
    assert found["answer"].to_list() == [True] * len(found)
    assert found["prompt_tokens"].to_list() == [100] * len(found)


def test_fuzzing_marks_the_firing_token_and_then_another() -> None:
    models = Models()
    scorers = {"fuzzing": {"explainers": ["token_pairs"], "excerpt_tokens": 8}}
    found = judgements(study(scorers), [explanation(1)], models)
    right = found.filter("label")
    assert right["marked"].to_list() == [[1], [1]]
    assert found.filter(~pl.col("label"))["marked"].list.len().to_list() == [1, 1]
    assert all(shown.count("<<") == 1 for shown in models.llm.shown)


def test_retrieval_asks_no_llm() -> None:
    models = Models()
    scorers = {"retrieval": {"explainers": ["token_pairs"], "excerpt_tokens": 8}}
    found = judgements(study(scorers), BOTH, models)
    assert (models.opened, models.llm.checked) == (0, 0)
    assert found["answer"].null_count() == len(found) > 0
    assert found["probability"].null_count() == 0


def test_near_texts_are_found_by_their_encoder() -> None:
    near = {"detection": DETECTION["detection"] | {"near_text": {}, "same_token": False}}
    kinds = judgements(study(near), [explanation(1)])["kind"].to_list()
    assert kinds == ["firing", "firing", "near_text", "random"]


def test_two_runs_ask_the_same_and_the_second_asks_nothing_new() -> None:
    calls, models = MemoryCalls(), Models()
    first = judgements(study(DETECTION), BOTH, models, calls)
    asked = len(models.llm.shown)
    assert judgements(study(DETECTION), BOTH, models, calls).equals(first)
    assert len(models.llm.shown) == asked
    other = study(DETECTION).model_copy(update={"scoring": study({}).scoring.model_copy(update={"seed": 5})})
    assert not judgements(other, BOTH).select("start").equals(first.select("start"))


def test_a_killed_run_asks_only_what_was_not_answered() -> None:
    calls, models = MemoryCalls(), Models()
    whole = judgements(study(DETECTION), BOTH)
    with pytest.raises(Interrupted):
        judgements(study(DETECTION), BOTH, models, calls, SilentProgress(fail_at=6))
    answered = len(calls.answers)
    assert 5 <= answered < len(whole)
    assert judgements(study(DETECTION), BOTH, models, calls).equals(whole)
    assert len(models.llm.shown) <= len(whole) + models.llm.calls_at_once


def test_a_model_that_does_not_answer_ends_the_run_before_anything_is_asked() -> None:
    class Dead(Said):
        async def check(self, samples: object = ()) -> None:
            raise LLMError("no server")

    models = Models()
    models.llm = Dead()
    with pytest.raises(LLMError, match="no server"):
        judgements(study(DETECTION), BOTH, models)
    assert models.llm.shown == []
