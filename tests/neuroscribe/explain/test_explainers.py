import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest

from neuroscribe.errors import LLMError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Asking, Before, Shown
from neuroscribe.explain.highlights import Highlights
from neuroscribe.explain.logit_lens import LogitLens
from neuroscribe.explain.next_token import NextToken
from neuroscribe.explain.parsing import SCHEMA
from neuroscribe.explain.questions import questions
from neuroscribe.explain.stage import explained
from neuroscribe.explain.token_pairs import TokenPairs
from neuroscribe.explain.token_summary import TokenSummary, spread
from neuroscribe.kinds import KnownStudy
from neuroscribe.ports.replies import Message, Reply, Schema, Usage
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import CONNECTIONS, NEURON_RECORDS, TOKEN_LOOKUP
from neuroscribe.testing.rows import exemplar_row, filled, sequence_table, vocabulary_table
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study

WORDS = (b" the", b" red", b"\n", b" ", b"<script>", b" The", b"red", b'"')
SEQUENCES = [(0, 1, 2, 0)] * 8
PEAKS = {(5, 1): 8.0, (6, 1): 4.0, (7, -1): 2.0}
"""Neurons of the sample with the largest activation on the explained side."""
FIRST = {(5, 1): 0.0, (6, 1): 0.5, (7, -1): 0.25, (8, 1): 0.0}
"""Their activation on the first token as a share of the peak, by which their prompts differ."""


def row(neuron: tuple[int, int], rank: int, kind: str, split: str) -> dict[str, Any]:
    peak = neuron[1] * PEAKS.get(neuron, 0.0) / (rank + 1)
    values = [FIRST[neuron] * peak, peak, -neuron[1] * 1.0, peak / 2]
    place = {"kind": kind, "split": split, "rank": rank, "peak": peak, "peak_position": 1}
    return exemplar_row(neuron[0], rank if kind == "top" else 7, values, polarity=neuron[1], **place)


def records(neurons: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """Five top exemplars, of which ranks 1 and 4 are for training, and a random one."""
    splits = ("valid", "train", "test", "valid", "train")
    rows = [row(neuron, rank, "top", split) for neuron in neurons for rank, split in enumerate(splits)]
    return NEURON_RECORDS.frame(rows + [row(neuron, 9, "random", "test") for neuron in neurons])


def evidence(
    own: Study,
    neurons: Sequence[tuple[int, int]] = tuple(PEAKS),
    means: dict[int, float] | None = None,
    counts: dict[int, int] | None = None,
    shrunken: dict[int, float] | None = None,
    promoted: Sequence[tuple[int, int, int]] = (),
) -> LayerEvidence:
    """Means and counts of tokens for neuron 5; neuron, sign and token promoted, in the order of ranks."""
    lookup = [
        {"neuron": 5, "token_id": token, "mean": mean, "count": (counts or {}).get(token, 3)}
        | {"shrunken_mean": (shrunken or {}).get(token, mean)}
        for token, mean in (means or {}).items()
    ]
    promotions = [
        {"neuron": neuron, "direction": "output_token", "sign": sign, "rank": rank}
        | {"token_id": token, "strength": sign * 1.0}
        for rank, (neuron, sign, token) in enumerate(promoted)
    ]
    tables = {
        "corpus/sequences": sequence_table(SEQUENCES),
        "corpus/vocabulary": vocabulary_table(WORDS),
        "neuron_records": records(neurons),
        "token_lookup": filled(TOKEN_LOOKUP, *lookup),
        "connections": filled(CONNECTIONS, *promotions),
    }
    return LayerEvidence(own, 0, tables, neurons=neurons)


def question(neuron: tuple[int, int], spec: Asking, **given: Any) -> Shown:
    """What a neuron's only question shows."""
    (found,) = questions(evidence(study({"own": spec.model_dump()}), (neuron,), **given), "own", Before())
    return found.shown


def study(explainers: dict[str, dict[str, Any]]) -> Study:
    return tiny_study(explainers=explainers, simulators={"embedding": {"explainers": list(explainers)}})


class Scripted:
    """An LLM that answers by a function of the prompt and remembers what it was asked."""

    identity = "scripted 1"
    calls_at_once = 8

    def __init__(self, answer: Callable[[Sequence[Message]], Reply]) -> None:
        self.asked: list[tuple[int, float, int]] = []
        self.schemas: list[Schema | None] = []
        self._answer = answer

    async def reply(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Schema | None = None,
    ) -> Reply:
        self.schemas.append(schema)
        self.asked.append((max_tokens, temperature, seed))
        await asyncio.sleep(0)
        return self._answer(messages)

    async def check(self, samples: object = ()) -> None:
        """Always there."""


def says(text: str | None, status: Any = "ok") -> Callable[[Sequence[Message]], Reply]:
    return lambda _: Reply(text, status, f"raw {text}", Usage(100, 0, 5, 0.25))


def explanations(
    llm: Scripted | None, own: Study, calls: MemoryCalls | None = None, **given: Any
) -> pl.DataFrame:
    return asyncio.run(
        explained(evidence(own, **given), llm=llm, calls=calls or MemoryCalls(), progress=SilentProgress())
    )


PAIRS = study({"token_pairs": {"excerpts": 2, "excerpt_tokens": 4, "temperature": 0.5, "max_tokens": 9}})


def test_the_question_shows_training_exemplars_by_the_all_time_maximum() -> None:
    asked = question((5, 1), TokenPairs(excerpts=2, excerpt_tokens=4))
    assert asked.sequence_ids == (1, 4)
    shown = asked.messages[-2].content
    # The all-time peak of 8 is in the valid split: rank 1 peaks at 4, and rank 4 at 1.6.
    one = "Excerpt 1:\n the\t0\n red\t5\n\\n\t0\n the\t2"
    assert f"{one}\nExcerpt 2:\n the\t0\n red\t2\n\\n\t0\n the\t1" in shown


def test_the_negative_side_is_shown_by_its_own_maximum() -> None:
    asked = question((7, -1), TokenPairs(excerpts=1, excerpt_tokens=4))
    assert " the\t1\n red\t5\n\\n\t0\n the\t2" in asked.messages[-2].content


def test_fewer_training_exemplars_than_asked_for_are_all_shown() -> None:
    assert question((5, 1), TokenPairs(excerpts=5)).sequence_ids == (1, 4)


def test_highlighted_excerpts_end_with_the_strongest() -> None:
    asked = question((6, 1), Highlights(excerpts=2, excerpt_tokens=4))
    lines = asked.messages[-2].content.split("\n")
    # Half of the all-time peak of 4 in the stronger excerpt; in the weaker one, half of its own peak.
    assert lines == [
        "1. << the >> << red >>\\n << the >>",
        "2. the << red >>\\n the",
        'Marked: "the" x2, "red" x2',
    ]
    assert asked.sequence_ids == (1, 4)


def test_a_next_token_question_shows_what_follows_the_peak() -> None:
    asked = question((5, 1), NextToken(excerpts=1, excerpt_tokens=4))
    assert "Excerpt 1:\n0\t red\n5\t\\n\n0\t the" in asked.messages[-2].content


PROMOTED = ((5, 1, 1), (5, 1, 0), (5, -1, 4), (7, 1, 2), (7, -1, 5), (7, -1, 6))


def test_a_neuron_promotes_the_tokens_of_its_sign() -> None:
    spec = LogitLens(excerpts=1, promoted=2)
    ends = {
        neuron: question(neuron, spec, promoted=PROMOTED).messages[-2].content.rpartition("Promotes: ")[2]
        for neuron in PEAKS
    }
    assert ends == {(5, 1): '"red", "the"', (6, 1): "nothing", (7, -1): '"The", "red"'}
    assert question((5, 1), LogitLens(promoted=1), promoted=PROMOTED).messages[-2].content.endswith(': "red"')


def test_a_summary_shows_tokens_spread_over_the_ranks_that_occur_often_enough() -> None:
    means = {0: 1.0, 1: 9.0, 2: 8.0, 4: 7.0, 5: 6.0, 7: -1.0}
    counts = dict.fromkeys(means, 3) | {2: 2}
    spec = TokenSummary(tokens=2, among=4, occurrences=3)
    asked = question((5, 1), spec, means=means, counts=counts)
    assert asked.messages[-2].content == 'Tokens: "red", "The"'
    assert asked.sequence_ids == ()


def test_a_summary_may_rank_tokens_by_what_they_contribute_to_a_prediction() -> None:
    means, counts = {0: 1.0, 1: 9.0, 5: 7.0}, {0: 100, 1: 3, 5: 30}
    for by, first in (("mean", '"red"'), ("weight", '"The"')):
        asked = question((5, 1), TokenSummary(by=by), means=means, counts=counts)
        assert asked.messages[-2].content.startswith(f"Tokens: {first}")


def test_tokens_are_spread_evenly_from_the_first_rank_on() -> None:
    ranks = [str(rank) for rank in range(100)]
    assert spread(ranks, 50) == ranks[::2]
    assert spread(ranks[:5], 3) == ["0", "1", "3"]
    assert spread(ranks[:3], 50) == ranks[:3]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"kind": "token_summary"}, "no token has a positive mean"),
        ({"kind": "next_token"}, "no training exemplar shows the neuron firing"),
        ({"kind": "highlights"}, "no training exemplar shows the neuron firing"),
    ],
)
def test_a_neuron_with_nothing_to_show_costs_no_call_and_says_why(spec: dict[str, Any], reason: str) -> None:
    llm = Scripted(says("colours"))
    table = explanations(llm, study({"own": {**spec, "candidates": 2}}), neurons=((8, 1),))
    rows = table.select("status", "text", "model", "raw_response").rows()
    assert rows == [("failed", None, "none", reason)]
    assert llm.asked == []


def test_an_answer_becomes_an_explanation_with_everything_that_led_to_it() -> None:
    llm = Scripted(says("colours."))
    table = explanations(llm, PAIRS)
    assert table.select("neuron", "polarity").rows() == list(PEAKS)
    assert table["text"].to_list() == ["colours"] * 3
    assert table["status"].to_list() == ["ok"] * 3
    assert table["explanation_id"].n_unique() == 3
    first = table.row(0, named=True)
    assert (first["explainer"], first["model"]) == ("token_pairs", "scripted 1")
    assert (first["prompt_tokens"], first["completion_tokens"], first["cost_usd"]) == (100, 5, 0.25)
    assert (first["raw_response"], first["sequence_ids"]) == ("raw colours.", [1, 4])
    assert llm.asked == [(9, 0.5, 0)] * 3


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("I'm sorry, I can't.", "refused"),
        ("a\nb", "unparsable"),
        ("rain\t10", "unparsable"),
        ("", "empty"),
        ("x" * 301, "too_long"),
        ("<think>It fires on", "reasoning"),
    ],
)
def test_an_answer_that_is_none_is_a_row_without_text(text: str, status: str) -> None:
    table = explanations(Scripted(says(text)), PAIRS)
    assert table["status"].to_list() == [status] * 3
    assert table["text"].to_list() == [None] * 3


def test_an_answer_that_was_cut_off_is_no_explanation_however_it_reads() -> None:
    calls = MemoryCalls()
    table = explanations(Scripted(says("words for wea", "truncated")), PAIRS, calls)
    assert table.select("status", "text").rows() == [("truncated", None)] * 3
    assert table["raw_response"].to_list() == ["raw words for wea"] * 3
    assert len(calls.answers) == 3, "asked again it would be cut off again"


@pytest.mark.parametrize("status", ["refused", "failed"])
def test_a_refused_or_failed_call_is_a_row_without_text(status: str) -> None:
    table = explanations(Scripted(says(None, status)), PAIRS)
    assert table["status"].to_list() == [status] * 3
    assert table["text"].to_list() == [None] * 3


@pytest.mark.parametrize(("status", "kept"), [("ok", True), ("refused", True), ("failed", False)])
def test_answers_and_refusals_are_stored_and_failures_are_not(status: str, kept: bool) -> None:
    calls, llm = MemoryCalls(), Scripted(says("colours" if status == "ok" else None, status))
    first = explanations(llm, PAIRS, calls)
    assert len(calls.answers) == 3 * kept
    assert explanations(llm, PAIRS, calls).equals(first)
    assert len(llm.asked) == (3 if kept else 6)


def test_a_stored_answer_holds_its_prompt() -> None:
    calls = MemoryCalls()
    explanations(Scripted(says("colours")), PAIRS, calls, neurons=((5, 1),))
    (answer,) = calls.answers.values()
    prompt = question((5, 1), TokenPairs(excerpts=2, excerpt_tokens=4)).messages
    assert answer["prompt"] == [[message.role, message.content] for message in prompt]


def test_candidates_are_asked_with_seeds_of_their_own() -> None:
    llm = Scripted(says("colours"))
    table = explanations(llm, study({"token_pairs": {"candidates": 3}}), neurons=((5, 1),))
    assert table["sample_index"].to_list() == [0, 1, 2]
    assert table["prompt_sha256"].n_unique() == 1
    assert table["explanation_id"].n_unique() == 3
    assert [seed for _, _, seed in llm.asked] == [0, 1, 2]


def test_candidates_that_say_the_same_are_explanations_of_their_own() -> None:
    table = explanations(Scripted(says("colours")), study({"token_pairs": {"candidates": 2}}))
    assert table["text"].to_list() == ["colours"] * 6
    assert table["explanation_id"].n_unique() == 6
    assert table.select("neuron", "sample_index").rows() == [(n, i) for n, _ in PEAKS for i in (0, 1)]


FORM = study({"token_pairs": {"answer": "schema"}})


def test_json_is_asked_for_by_its_schema_and_gives_two_texts() -> None:
    llm = Scripted(says('{"short": "colours.", "long": "It fires on red."}'))
    table = explanations(llm, FORM, neurons=((5, 1),))
    assert table.select("text", "long_text", "status").rows() == [("colours", "It fires on red.", "ok")]
    assert (llm.schemas, llm.asked) == ([SCHEMA], [(800, 1.0, 0)])


def test_a_line_is_asked_for_without_a_schema_and_has_no_long_text() -> None:
    llm = Scripted(says("colours"))
    table = explanations(llm, study({"token_pairs": {}}), neurons=((5, 1),))
    assert (llm.schemas, llm.asked) == ([None], [(60, 1.0, 0)])
    assert table["long_text"].to_list() == [None]


def test_json_that_breaks_off_is_no_explanation() -> None:
    table = explanations(Scripted(says('{"short": "colours", "long": "It fi')), FORM, neurons=((5, 1),))
    assert table.select("text", "long_text", "status").rows() == [(None, None, "truncated")]


def test_an_explanation_of_the_next_token_says_so() -> None:
    llm = Scripted(says("before a colour"))
    table = explanations(llm, study({"next_token": {}}), neurons=((5, 1),))
    assert table["text"].to_list() == ["just before a colour"]


def test_questions_of_one_explainer_adjoin() -> None:
    seen: list[str] = []

    def answer(messages: Sequence[Message]) -> Reply:
        seen.append(messages[0].content)
        return Reply("colours", "ok", "")

    llm = Scripted(answer)
    llm.calls_at_once = 1
    explanations(llm, study({"token_pairs": {"candidates": 2}, "next_token": {}}))
    assert [seen.count(each) for each in dict.fromkeys(seen)] == [6, 3]
    assert seen == sorted(seen, key=seen.index)


def test_two_explainers_with_the_same_question_pay_for_it_once() -> None:
    llm = Scripted(says("colours"))
    same = {"kind": "token_pairs", "excerpts": 2}
    table = explanations(llm, study({"one": same, "other": same}), neurons=((5, 1),))
    assert table["explainer"].to_list() == ["one", "other"]
    assert len(llm.asked) == 1


def test_half_a_surrogate_pair_in_an_answer_is_written_out() -> None:
    table = explanations(Scripted(says("the emoji \ud83d")), PAIRS, neurons=((5, 1),))
    assert table["text"].to_list() == ["the emoji \\ud83d"]
    assert table["raw_response"].to_list() == ["raw the emoji \\ud83d"]


def test_an_explainer_that_asks_an_llm_needs_one() -> None:
    with pytest.raises(LLMError, match="study s: explainer 'token_pairs' asks an LLM, and none was given"):
        explanations(None, PAIRS)


LIST = study({"token_list": {"tokens": 4}})


def test_a_token_list_names_the_tokens_with_the_highest_means() -> None:
    means = {0: 1.0, 1: 9.0, 2: 5.0, 4: 3.0, 5: 0.5}
    table = explanations(None, LIST, neurons=((5, 1),), means=means)
    assert table["text"].to_list() == ['the tokens "red", "\\n", "<script>", "the"']
    assert table.select("status", "model", "prompt_tokens").rows() == [("ok", "none", 0)]


def test_a_token_list_leaves_out_tokens_seen_less_than_three_times_and_goes_by_shrunken_means() -> None:
    means, counts = {0: 1.0, 1: 9.0, 4: 5.0, 5: 4.0}, {0: 3, 1: 2, 4: 3, 5: 900}
    shrunken = {0: 0.8, 1: 4.5, 4: 3.5, 5: 3.9}
    table = explanations(None, LIST, neurons=((5, 1),), means=means, counts=counts, shrunken=shrunken)
    assert table["text"].to_list() == ['the tokens "The", "<script>", "the"']


def test_explainers_that_show_the_table_of_tokens_say_so() -> None:
    kinds = KnownStudy.known_kinds("explainers").items()
    tables = {name for name, kind in kinds if issubclass(kind, ExplainerSpec) and kind.reads_table}
    assert tables == {"token_list", "token_detector", "token_summary", "auto"}


def test_a_token_list_names_spellings_with_and_without_space_once_and_the_space_itself() -> None:
    table = explanations(None, LIST, neurons=((5, 1),), means={1: 9.0, 6: 8.0, 3: 7.0, 7: 6.0})
    assert table["text"].to_list() == ['the tokens "red", " ", "\\""']


def test_a_neuron_without_a_positive_mean_gets_no_token_list() -> None:
    table = explanations(None, LIST, neurons=((5, 1), (6, 1)), means={0: 0.0, 1: -1.0})
    assert table.select("status", "text").rows() == [("failed", None)] * 2
    assert table["raw_response"].to_list() == ["no token has a positive mean"] * 2
    assert table["explanation_id"].n_unique() == 2
