"""A few neurons are explained from further draws of exemplars, to tell how stable explanations are."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.evidence.exemplars import training_exemplars
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.sample import redrawn_neurons
from neuroscribe.explain.explainer import Before
from neuroscribe.explain.questions import questions
from neuroscribe.explain.stability import with_similarities
from neuroscribe.explain.stage import explained
from neuroscribe.ports.models import LLM, TextEncoder
from neuroscribe.ports.stores import Progress
from neuroscribe.report.likely import likely_explanations, likely_tables
from neuroscribe.score.rules import coverage
from neuroscribe.study.sections import EncoderSpec
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES
from neuroscribe.tables.records import EXPLANATIONS, NEURON_RECORDS, SCORES, TOKEN_LOOKUP
from neuroscribe.testing.rows import (
    exemplar_row,
    explanation_row,
    sequence_table,
    vocabulary_table,
)  # fmt: skip
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from tests.neuroscribe.simulate.answering import Answering, NoEncoders

SPLITS = ("train", "valid", "valid", "test") * 3
NEURONS = ((1, 1), (2, 1), (3, 1), (4, 1))
SHOWN = {"excerpts": 2, "excerpt_tokens": 4, "temperature": 0.0}


def study(count: int = 1, **explainers: Any) -> Study:
    chosen = explainers or {"highlights": SHOWN}
    return tiny_study(explainers=chosen, scoring={"stability_neurons": count})


def records(neurons: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """Twelve top exemplars each: rank, sequence and the token that fires are the same number."""
    rows = [
        exemplar_row(neuron, rank, [0.0, 20.0 - rank], split=split, rank=rank)
        for neuron, _ in neurons
        for rank, split in enumerate(SPLITS)
    ]
    return NEURON_RECORDS.frame(rows)


def evidence(own: Study, **tables: pl.DataFrame) -> LayerEvidence:
    words = [b" the", *(b" word%d" % rank for rank in range(len(SPLITS)))]
    usual = {
        "corpus/sequences": sequence_table([[0, 1 + rank] for rank in range(len(SPLITS))]),
        "corpus/vocabulary": vocabulary_table(words),
        "neuron_records": records(NEURONS),
        "token_lookup": TOKEN_LOOKUP.frame([]),
    }
    return LayerEvidence(own, 0, {**usual, **tables}, neurons=NEURONS)


def explanations(own: Study, llm: LLM) -> pl.DataFrame:
    work = explained(evidence(own), llm=llm, calls=MemoryCalls(), progress=SilentProgress())
    return asyncio.run(work)


class Angles:
    """Opens an encoder that holds a text in degrees."""

    identity = "angles"

    def open(self, spec: EncoderSpec, *, progress: Progress | None = None) -> TextEncoder:
        return self

    def sentence(self, text: str) -> np.ndarray:
        angle = np.deg2rad(float(text))
        return np.array([np.cos(angle), np.sin(angle)])

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], np.ndarray]:
        raise AssertionError("no piece is compared")


def test_the_draws_of_a_neuron_share_no_exemplar() -> None:
    top = records([(1, 1)])
    drawn = [training_exemplars(top, 9, draw)["rank"].to_list() for draw in range(3)]
    assert drawn == [[0, 4, 8], [1, 5, 9], [2, 6, 10]]
    assert training_exemplars(top, 2, 1)["rank"].to_list() == [1, 5]


def test_a_few_neurons_are_explained_from_two_more_draws() -> None:
    own = study()
    table = explanations(own, Answering(lambda _: " words"))
    (again,) = redrawn_neurons(own, 0, NEURONS)
    assert table.group_by("draw", maintain_order=True).len().rows() == [(0, 4), (1, 1), (2, 1)]
    other = table.filter(pl.col("draw") > 0)
    assert other.select("neuron", "polarity").unique().rows() == [again]
    assert other["sequence_ids"].to_list() == [[1, 5], [2, 6]]
    assert table["explanation_id"].n_unique() == 6
    assert table["similarity"].null_count() == 6


def test_which_neurons_follows_from_the_seed_and_never_exceeds_the_sample() -> None:
    assert redrawn_neurons(study(2), 0, NEURONS) == redrawn_neurons(study(2), 0, NEURONS)
    assert redrawn_neurons(study(9), 0, NEURONS) == NEURONS
    assert redrawn_neurons(study(0), 0, NEURONS) == ()
    drawn = {redrawn_neurons(study(), layer, NEURONS) for layer in range(20)}
    assert len(drawn) == len(NEURONS)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("highlights", {**SHOWN, "candidates": 2, "temperature": 1.0}),
        ("token_summary", {}),
        ("token_list", {}),
    ],
)
def test_explainers_that_choose_on_valid_or_show_no_exemplars_draw_once(name: str, settings: Any) -> None:
    own = study(4, **{name: settings})
    assert own.explainers[name].draws == 1
    assert {question.draw for question in questions(evidence(own), name, Before())} <= {0}
    assert "stability" not in STAGES["explanations"].settings(own)


def test_a_mute_draw_is_a_row_of_its_own() -> None:
    silent = records(NEURONS).with_columns(activations=pl.lit([0.0, 0.0]).cast(pl.List(pl.Float32)))
    work = explained(
        evidence(study(), neuron_records=silent),
        llm=Answering(lambda _: " words"),
        calls=MemoryCalls(),
        progress=SilentProgress(),
    )
    table = asyncio.run(work)
    assert set(table["status"]) == {"failed"}
    assert table["explanation_id"].n_unique() == len(table) == 6


def said(*texts: tuple[int, str | None]) -> pl.DataFrame:
    """What was said of a neuron from each draw."""
    status = {True: "ok", False: "refused"}
    return EXPLANATIONS.frame(
        [
            explanation_row(1, draw, draw=draw, sample_index=0, text=text, status=status[text is not None])
            for draw, text in texts
        ]
    )


ENCODING = tiny_study(simulators={"embedding": {"explainers": ["token_pairs"]}})


def test_texts_from_further_draws_are_compared_with_that_of_draw_0() -> None:
    table = said((0, "10"), (1, "70"), (2, "100"))
    found = with_similarities(table, ENCODING, encoders=Angles(), progress=SilentProgress())
    assert found["similarity"].to_list() == [None, pytest.approx(0.5), pytest.approx(0)]
    assert found.drop("similarity").equals(table.drop("similarity"))


@pytest.mark.parametrize(
    ("of", "table"),
    [
        (ENCODING, said((0, None), (1, "70"))),
        (ENCODING, said((0, "10"), (1, None))),
        (ENCODING, said((0, "10"))),
        (tiny_study(), said((0, "10"), (1, "70"))),
    ],
)
def test_without_two_texts_or_an_encoder_nothing_is_opened_and_similarity_is_unknown(
    of: Study, table: pl.DataFrame
) -> None:
    found = with_similarities(table, of, encoders=NoEncoders(), progress=SilentProgress())
    assert found["similarity"].null_count() == len(table)


def test_what_is_published_and_due_a_score_is_from_draw_0() -> None:
    own = tiny_study(explainers={"token_pairs": {}})
    table = said((0, "10"), (1, "70"), (2, None))
    shown = evidence(own, explanations=table)
    assert [row["draw"] for row in shown.usable("token_pairs")] == [0]
    assert [row["draw"] for row in shown.explanations("token_pairs")] == [0]
    assert [row["draw"] for row in shown.redrawn("token_pairs")] == [1]
    assert set(coverage(SCORES.frame([]), table, own)["explanation_id"]) == {"e10"}


def test_likely_explanations_tell_the_draws_apart() -> None:
    own = study()
    shown = LayerEvidence(own, 0, likely_tables(own, NEURONS), neurons=NEURONS)
    rows = likely_explanations(shown)
    assert rows["text"].n_unique() == len(rows) == 6
    assert rows["draw"].to_list().count(0) == 4


def test_an_encoder_of_another_name_makes_explanations_new_only_where_texts_are_compared() -> None:
    def settings(count: int, model: str) -> Any:
        simulators = {"embedding": {"model": model, "explainers": ["highlights"]}}
        return STAGES["explanations"].settings(
            tiny_study(
                explainers={"highlights": {}},
                simulators=simulators,
                scoring={"stability_neurons": count},
            )
        )

    assert settings(1, "a") != settings(1, "b")
    assert settings(0, "a") == settings(0, "b")
