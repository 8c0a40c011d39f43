"""Explainers whose explanations have parts: phrases, lists of tokens read apart, token detectors, senses."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Before, Listing, Said
from neuroscribe.explain.phrases import Phrases
from neuroscribe.explain.questions import questions
from neuroscribe.explain.senses import Senses
from neuroscribe.explain.stage import explained
from neuroscribe.explain.token_detector import TokenDetector
from neuroscribe.explain.token_list import TokenList
from neuroscribe.kinds import KnownStudy
from neuroscribe.measures.clusters import clusters, k_means, silhouette
from neuroscribe.ports.replies import Message, Reply, Usage
from neuroscribe.report.likely import likely_explanations, likely_tables
from neuroscribe.simulate.questions import questions as simulation_questions
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import NEURON_RECORDS, TOKEN_LOOKUP
from neuroscribe.testing.rows import exemplar_row, filled, sampled_table, sequence_table, vocabulary_table
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study

NEURON = (1, 1)
WORDS = (b"one", b" of", b" the", b" sp", b"ain", b".", b"\n", b" <<", b" <|im_end|>", b' "hi"')


def layer(
    values: Sequence[tuple[Sequence[int], Sequence[float]]],
    *,
    bands: Sequence[float | None] = (),
    study: Study | None = None,
    held_out: Sequence[int] = (),
    **tables: pl.DataFrame,
) -> LayerEvidence:
    """Sequences of words with activations, each a training exemplar: a top one, or of a band so high."""
    activations = [[float(value) for value in own] for _, own in values]
    rows = [
        exemplar_row(1, place, own, rank=place, **_kind(bands, place))
        for place, own in enumerate(activations)
    ]
    usual = {
        "corpus/sequences": sequence_table([list(ids) for ids, _ in values], held_out=held_out),
        "corpus/vocabulary": vocabulary_table(WORDS),
        "neuron_records": NEURON_RECORDS.frame(rows),
        "sampled_activations": sampled_table(dict(enumerate(activations))),
    }
    return LayerEvidence(study or tiny_study(), 0, {**usual, **tables}, neurons=[NEURON])


def _kind(bands: Sequence[float | None], place: int) -> dict[str, Any]:
    height = bands[place] if place < len(bands) else None
    if height is None:
        return {"kind": "top", "split": "train"}
    return {"kind": "quantile", "split": "train", "quantile_low": height - 1, "quantile_high": height}


def said(spec: Listing, evidence: LayerEvidence) -> Said:
    found = spec.said(evidence, NEURON, Before())
    assert isinstance(found, Said)
    return found


def test_phrases_end_at_peaks_first_the_strongest_of_every_exemplar_and_bands_from_above() -> None:
    evidence = layer(
        [
            ((0, 1, 2, 3, 4), (0, 0, 0, 2, 9)),
            ((0, 1, 2, 5, 0), (0, 3, 0, 5, 0)),
            ((2, 3, 4, 1, 2), (0, 0, 0, 1, 0)),
            ((1, 1, 2, 1, 1), (0, 0, 4, 0, 0)),
        ],
        bands=(None, None, 2.0, 6.0),
    )
    found = said(Phrases(words_before=1), evidence)
    assert found.parts == tuple(
        f'the end of "{phrase}"' for phrase in ("the spain", "the.", "of the", "spain of", "one of")
    )
    assert found.text == ('the ends of the phrases "the spain", "the.", "of the", "spain of", "one of"')
    assert found.sequence_ids == (0, 1, 3, 2)
    assert said(Phrases(words_before=1, bands=0, places=1, named=1), evidence).text == (
        'the end of "the spain" and 1 more'
    )


def test_phrases_of_a_silent_neuron_and_of_one_that_peaks_on_blanks_say_why_there_are_none() -> None:
    silent = layer([((0, 1, 2), (0, 0, 0))])
    blank = layer([((0, 6, 2), (0, 5, 0))])
    assert Phrases().said(silent, NEURON, Before()) == "no training exemplar shows the neuron firing"
    assert Phrases().said(blank, NEURON, Before()) == "it peaks on blanks alone"


def test_hostile_text_forges_nothing_in_phrases() -> None:
    found = said(Phrases(words_before=9), layer([((6, 7, 8, 9), (0, 0, 0, 1.0))]))
    assert found.text == 'the end of "< < < |im_end|> \\"hi\\""'
    assert "\n" not in found.text


def _table(means: Mapping[int, tuple[float, int]]) -> pl.DataFrame:
    rows = (
        {"neuron": 1, "token_id": token, "mean": mean, "shrunken_mean": mean, "count": count}
        for token, (mean, count) in means.items()
    )
    return filled(TOKEN_LOOKUP, *rows)


def test_by_weight_a_frequent_token_ranks_before_a_rare_one_of_a_larger_mean() -> None:
    # Overall mean (4 x 4 + 3 x 16) / 120 = .533: weights 3.47 x 2 = 6.9, and 2.47 x 4 = 9.9.
    table = _table({0: (4.0, 4), 1: (3.0, 16), 2: (0.0, 100)})
    evidence = layer([((0,), (1.0,))], token_lookup=table)
    assert said(TokenList(), evidence).text == 'the tokens "one", "of"'
    assert said(TokenList(), evidence).parts is None
    apart = said(TokenList(by="weight", apart=True), evidence)
    assert (apart.text, apart.parts) == ('the tokens "of", "one"', ('the end of "of"', 'the end of "one"'))


def _of_tokens(strength: Sequence[float], n: int = 12) -> list[tuple[Sequence[int], Sequence[float]]]:
    generator = np.random.default_rng(0)
    ids = generator.integers(5, size=(n, 6)).tolist()
    return [(own, [strength[token] for token in own]) for own in ids]


def test_a_token_detector_names_strengths_in_tenths_of_the_largest_mean() -> None:
    table = _table({0: (6.0, 9), 1: (3.0, 9), 2: (0.2, 9), 3: (0.0, 9)})
    evidence = layer(_of_tokens((6, 3, 0.2, 0, 0)), held_out=(11,), token_lookup=table)
    found = said(TokenDetector(tokens=3), evidence)
    assert found.text == 'the tokens "one" (10), "of" (5)'
    assert found.sequence_ids == ()


def test_tokens_that_predict_nothing_on_documents_not_held_out_are_no_detector() -> None:
    generator = np.random.default_rng(1)
    noise = [(ids, generator.random(6).tolist()) for ids, _ in _of_tokens((0,) * 5, n=40)]
    table = _table({0: (0.6, 40)})
    reason = TokenDetector().said(layer(noise, token_lookup=table), NEURON, Before())
    assert isinstance(reason, str)
    assert reason.startswith("tokens alone do not predict it: r ")
    nothing = layer(noise, held_out=range(40), token_lookup=table)
    assert TokenDetector().said(nothing, NEURON, Before()) == (
        "tokens alone do not predict it: no sequence to try them on"
    )


class Topics:
    """An encoder that tells `one` from all other words, and hears a little of the word before."""

    identity = "topics"

    def sentence(self, text: str) -> np.ndarray:
        return np.array([0.0, 0.0, 1.0])

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], np.ndarray]:
        spans = [(0, len(text))]
        vector = np.array([1.0, 0.1, 0]) if text == "one" else np.array([0, 1.0, 0.1 * len(text)])
        return spans, (vector / np.linalg.norm(vector))[None]


TWO = [
    *(((0, 2, 2, 2), (9.0, 0, 0, 0)) for _ in range(3)),
    *(((2, 1, 2, 2), (0, 5.0, 0, 0)) for _ in range(2)),
]
SENSES: dict[str, Any] = {"kind": "senses", "words_before": 0, "excerpt_tokens": 4}
BESIDE = {"senses": SENSES | {"beside": "mixed"}, "mixed": SENSES | {"groups": "random"}}
ENCODER = {"embedding": {"model": "m", "explainers": ["senses", "mixed"]}}


def study(explainers: Mapping[str, Any] = BESIDE, **given: Any) -> Study:
    return tiny_study(explainers=explainers, **{"simulators": ENCODER} | given)


class Answers:
    """An LLM that names what is marked last, and counts what it is asked."""

    identity, calls_at_once = "answers", 1

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def reply(self, messages: Sequence[Message], **_: Any) -> Reply:
        self.asked.append(messages[-2].content)
        text = messages[-2].content.rpartition("<< ")[2].partition(" >>")[0]
        return Reply(f"the word {text}", "ok", "", Usage(3, 0, 2))

    async def check(self, samples: object = ()) -> None:
        """Always there."""


def rows(llm: Any, own: Study, evidence: LayerEvidence) -> dict[str, dict[str, Any]]:
    table = asyncio.run(
        explained(evidence, llm=llm, calls=MemoryCalls(), progress=SilentProgress(), encoder=Topics())
    )
    return {row["explainer"]: row for row in table.iter_rows(named=True)}


def test_each_sense_is_a_prompt_and_all_are_one_explanation() -> None:
    own, llm = study(), Answers()
    found = rows(llm, own, layer(TWO, study=own))
    assert found["senses"]["parts"] == ["the word one", "the word of"]
    assert found["senses"]["text"] == "the word one; the word of"
    assert found["senses"]["sequence_ids"] == [0, 1, 2, 3, 4]
    assert found["senses"]["prompt_tokens"] == 6
    assert [prompt.count("\n") for prompt in llm.asked[:2]] == [3, 2]


def test_random_groups_are_as_many_of_the_same_sizes_and_the_same_each_time() -> None:
    own = study()
    evidence = layer(TWO, study=own)
    sizes = {
        name: sorted(len(asked.shown.sequence_ids) for asked in questions(evidence, name, _given()))
        for name in BESIDE
    }
    assert sizes == {"senses": [2, 3], "mixed": [2, 3]}
    drawn = [[asked.shown.sequence_ids for asked in questions(evidence, "mixed", _given())] for _ in range(2)]
    assert drawn[0] == drawn[1]


def _given() -> Before:
    return Before(encoder=Topics())


def test_a_neuron_of_one_sense_gets_no_explanation_and_costs_nothing() -> None:
    own, llm = study(), Answers()
    found = rows(llm, own, layer(TWO[:3], study=own))
    for name in BESIDE:
        kept = (found[name]["status"], found[name]["text"], found[name]["raw_response"])
        assert kept == ("failed", None, "one sense")
    assert not llm.asked


@pytest.mark.parametrize(
    ("explainers", "message"),
    [
        ({"senses": SENSES}, 'groups = "clusters" needs beside'),
        ({"senses": SENSES | {"beside": "other"}}, "explainers.senses.beside names 'other'"),
        (BESIDE | {"mixed": SENSES | {"groups": "random", "senses": 3}}, "else the same settings"),
        (BESIDE | {"mixed": SENSES | {"groups": "random", "beside": "senses"}}, "remove beside"),
    ],
)
def test_clusters_without_the_same_random_groups_are_refused(explainers: Any, message: str) -> None:
    simulators = {"embedding": {"model": "m", "explainers": ["senses"]}}
    with pytest.raises(ValueError, match=message):
        study(explainers, simulators=simulators)


def test_senses_without_an_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a sentence encoder"):
        study(simulators={"all_at_once": {"explainers": ["senses"]}})


def test_clusters_may_describe_a_neuron_where_they_beat_the_random_groups_and_these_never_do() -> None:
    own = study()
    assert (own.explainers["senses"].rival, own.explainers["senses"].describes) == ("mixed", True)
    assert (own.explainers["mixed"].rival, own.explainers["mixed"].describes) == (None, False)


def test_a_plan_counts_a_call_for_each_sense_and_for_each_part_that_is_read() -> None:
    read = {"all_at_once": {"explainers": ["senses", "mixed"]}}
    own = study(simulators=ENCODER | read, capture={"top_k": 40})
    few = [(1, 1), (2, 1)]
    tables = likely_tables(own, few)
    shown = LayerEvidence(own, 0, tables, neurons=few)
    assert len(questions(shown, "senses", Before())) == 2 * 4
    made = LayerEvidence(own, 0, {**tables, "explanations": likely_explanations(shown)}, neurons=few)
    asked = simulation_questions(made, "all_at_once")
    whole = simulation_questions(made, "embedding")
    assert all(not question.parts for question in asked)
    assert {len(question.parts) for question in whole} == {4}
    assert sum(question.n_calls for question in asked) % 4 == 0


def test_clusters_are_found_where_there_are_some_and_nowhere_else() -> None:
    generator = np.random.default_rng(0)
    centres = np.eye(16)[[0, 5, 9]].repeat(5, axis=0)
    three = _unit(centres + 0.1 * generator.normal(size=(15, 16)))
    assert clusters(three, most=4, seed=0, least_silhouette=0.1).tolist() == [0] * 5 + [1] * 5 + [2] * 5
    none = _unit(generator.normal(size=(15, 384)))
    assert clusters(none, most=4, seed=0, least_silhouette=0.1).tolist() == [0] * 15
    same = np.tile(np.eye(3)[0], (6, 1))
    assert clusters(same, most=4, seed=0, least_silhouette=0.1).tolist() == [0] * 6


def test_a_cluster_of_one_point_is_none() -> None:
    points = np.eye(3)[[0, 0, 0, 0, 1]]
    assert k_means(points, 2, seed=0).tolist() == [0, 0, 0, 0, 1]
    assert clusters(points, most=2, seed=0, least_silhouette=0.1).tolist() == [0] * 5


def test_the_silhouette_is_that_of_its_definition() -> None:
    # Cosines 1 within and 0 between: a = 0, b = 1 for the first two; the third is alone and counts 0.
    points = np.eye(2)[[0, 0, 1]]
    assert silhouette(points, np.array([0, 0, 1])) == pytest.approx(2 / 3)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_kinds_are_known_by_name() -> None:
    assert {"phrases", "token_detector", "senses"} <= KnownStudy.known_kinds("explainers").keys()
    assert Senses(groups="random").wording.keys() == {"highlights", "answers"}


def test_senses_are_asked_with_and_without_worked_examples():
    shown, alone = (Senses(beside="mixed", worked=worked).samples(8)[0].messages for worked in (True, False))
    assert len(shown) > len(alone) == 3
    assert not Senses(beside="mixed", worked=False).words.examples
