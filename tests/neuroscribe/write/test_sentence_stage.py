"""Sentences of a layer: written, run through the planted subject, and held against other neurons."""

import asyncio
from typing import Any

import polars as pl
import pytest
import torch

from neuroscribe.errors import LLMError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.replies import Message, Reply, Usage
from neuroscribe.report.tallies import llm_calls, sentence_tally
from neuroscribe.score.sentences import NOTHING_LISTED, Sentences
from neuroscribe.study.dues import dues
from neuroscribe.study.spec import Study
from neuroscribe.subject.subject import Subject
from neuroscribe.tables.records import EXPLANATIONS, NEURON_RECORDS, SIMULATIONS
from neuroscribe.tables.sentences import SENTENCES
from neuroscribe.testing.planted import BODY, CITIES, DAYS, TOOLS, planted_subject, planted_tokenizer
from neuroscribe.testing.rows import exemplar_row, explanation_row
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from neuroscribe.testing.writing_script import WritingScript
from neuroscribe.text.listed_tokens import token_list
from neuroscribe.text.token_bytes import tokenizer_facts
from neuroscribe.write.questions import questions
from neuroscribe.write.stage import written_layer

LAYER, TOOL, DAY, WEAK_DAY = 1, (0, 1), (1, 1), (7, 1)
"""Neurons of layer 1 that fire on tools, on days with 6.0, and on days with 0.84."""
PEAK = {TOOL: 6.0, DAY: 6.0, WEAK_DAY: 0.841192}
ASKED = {"sensitivity": {"explainers": ["highlights"]}}


class Writer:
    """An LLM that answers as the script does, and counts."""

    identity, calls_at_once = "writer", 1

    def __init__(self, script: WritingScript | None = None) -> None:
        self.script, self.asked, self.checked = script or WritingScript(), list[str](), 0

    def open(self, *_: Any, **__: Any) -> "Writer":
        return self

    async def check(self, samples: object = ()) -> None:
        self.checked += 1

    async def reply(self, messages: list[Message], **_: Any) -> Reply:
        self.asked.append(messages[-1].content)
        await asyncio.sleep(0)
        text = self.script.reply("\n\n".join(message.content for message in messages))
        return Reply(text, "ok", "raw", Usage(80, 0, 200))


class Opening:
    """Opens the planted subject, and counts."""

    def __init__(self) -> None:
        self.opened = 0

    def open(self, *_: Any, **__: Any) -> Subject:
        self.opened += 1
        return Subject(
            model=planted_subject(), tokenizer=tokenizer_facts(planted_tokenizer()), name="planted",
            revision="1", dtype=torch.float32, device=torch.device("cpu"), batch_tokens=64,
        )  # fmt: skip

    def tokenizer(self, *_: Any, **__: Any) -> Any:
        raise AssertionError

    def units(self, *_: Any, **__: Any) -> Any:
        raise AssertionError


def study(scorers: dict[str, Any], explainers: dict[str, Any] | None = None) -> Study:
    named = explainers or {"highlights": {}, "token_list": {}}
    return tiny_study(
        subject={"layers": 2, "neurons_per_layer": 16},
        corpus={"sequence_length": 64},
        explainers=named,
        simulators={"embedding": {"explainers": list(named)}},
        scorers=scorers,
    )


def explanation(neuron: tuple[int, int], text: str | None, **given: Any) -> dict[str, Any]:
    usual = {"explainer": "highlights", "layer": LAYER, "text": text, "polarity": neuron[1]}
    return explanation_row(neuron[0], **usual | given)


RIGHT = [explanation(TOOL, TOOLS), explanation(DAY, DAYS)]


def evidence(own: Study, explanations: list[dict[str, Any]]) -> LayerEvidence:
    records = [exemplar_row(neuron[0], 0, [peak, 0.0]) for neuron, peak in PEAK.items()]
    tables = {
        "neuron_records": NEURON_RECORDS.frame(records),
        "explanations": EXPLANATIONS.frame(explanations),
    }
    return LayerEvidence(own, LAYER, tables)


def sentences(
    own: Study,
    explanations: list[dict[str, Any]],
    writer: Writer | None = None,
    calls: MemoryCalls | None = None,
    progress: SilentProgress | None = None,
    subjects: Opening | None = None,
) -> pl.DataFrame:
    return asyncio.run(
        written_layer(
            evidence(own, explanations),
            llm=writer or Writer(),
            subjects=subjects or Opening(),
            calls=calls or MemoryCalls(),
            progress=progress or SilentProgress(),
        )
    )


def scores(own: Study, explanations: list[dict[str, Any]], **given: Any) -> list[dict[str, Any]]:
    found = sentences(own, explanations, **given)
    known = evidence(own, explanations)
    tables = {**known.tables, "sentences": found}
    scored = Sentences(LayerEvidence(own, LAYER, tables))
    return [row for due in dues(own) if due.measure == "sensitivity" for row in scored.rows(due)]


def test_each_sentence_is_run_on_its_own_neuron_and_on_those_that_it_is_a_control_of() -> None:
    found = sentences(study(ASKED), RIGHT)
    assert not found.select(SENTENCES.key).is_duplicated().any()
    places = found.select("explanation_id", "neuron").unique(maintain_order=True).rows()
    assert places == [("e00", 0), ("e10", 1), ("e10", 0), ("e00", 1)]
    own = found.filter(explanation_id="e00", neuron=0)
    assert own["text"][0] == "the hammer of it was"
    assert own["peak"].to_list() == pytest.approx([6.0] * 10, abs=1e-4)
    assert own["n_tokens"].to_list() == [5] * 6 + [7] * 4  # six tools, then again with two words more
    control = found.filter(explanation_id="e00", neuron=1)
    assert control["peak"].to_list() == pytest.approx([0.0] * 10, abs=1e-4)


def test_a_right_label_scores_1_a_wrong_one_0_and_the_control_is_0() -> None:
    right, wrong = scores(study(ASKED), [explanation(TOOL, TOOLS), explanation(DAY, CITIES)])
    assert (right["value"], right["control"], right["ci_high"]) == (1.0, 0.0, 1.0)
    assert (wrong["value"], wrong["control"]) == (0.0, 0.0)
    assert 0.6 < right["ci_low"] < 0.75
    assert right["scorer"], right["regime"] == ("sensitivity", "written")
    assert (right["n_sequences"], right["n_unreadable"], right["n_controls"]) == (10, 0, 1)
    assert right["n_tokens"] == 6 * 5 + 4 * 7
    assert right["null_reason"] is right["ceiling"] is None


def test_a_label_of_one_of_two_groups_is_right_in_half_of_the_sentences() -> None:
    (row,) = scores(study(ASKED), [explanation(DAY, f"{DAYS} or {BODY}")])
    assert row["value"] == 0.6  # six days, then four parts of the body
    assert row["control"] is row["p"] is None


def test_what_counts_as_firing_is_measured_by_the_neurons_own_exemplars() -> None:
    (row,) = scores(study(ASKED), [explanation(WEAK_DAY, DAYS)])
    assert row["value"] == 1.0


def test_templates_fill_in_tokens_and_leave_descriptions_out() -> None:
    own = study({"sensitivity_templates": {"explainers": ["highlights", "token_list"]}})
    writer, tools = Writer(), token_list([" hammer", " saw"])
    rows = [explanation(TOOL, tools, explanation_id="t", explainer="token_list", model="none"), *RIGHT]
    found = {row["explanation_id"]: row for row in scores(own, rows, writer=writer)}
    assert found["t"]["value"] == 1.0
    # Ten sentences, but two tokens: what they say of a third one is little.
    assert found["t"]["ci_low"] < 0.4
    assert (found["e00"]["value"], found["e00"]["null_reason"]) == (None, NOTHING_LISTED)
    assert (writer.asked, writer.checked) == ([], 0)


def test_a_refusal_is_a_status_of_every_sentence_and_no_score() -> None:
    writer, subjects = Writer(WritingScript(declines=TOOLS)), Opening()
    found = sentences(study(ASKED), RIGHT[:1], writer, subjects=subjects)
    assert set(found["status"]) == {"refused"}
    assert found["text"].null_count() == found["fires"].null_count() == len(found) == 10
    assert subjects.opened == 0  # nothing to run
    (row,) = scores(study(ASKED), RIGHT[:1], writer=Writer(WritingScript(declines=TOOLS)))
    assert (row["value"], row["null_reason"]) == (None, "only 0 of 10 sentences can be used")
    assert row["n_unreadable"] == 10


def test_explanations_without_a_text_are_not_written_about() -> None:
    writer = Writer()
    rows = [explanation(TOOL, None, status="refused")]
    assert len(sentences(study(ASKED), rows, writer)) == 0
    assert writer.asked == []
    (row,) = scores(study(ASKED), rows)
    assert row["null_reason"] == "explanation refused"


def test_special_tokens_in_a_sentence_stay_text_and_long_ones_are_cut() -> None:
    class Hostile(WritingScript):
        def reply(self, prompt_text: str) -> str:
            return "1. <|endoftext|> hammer\n2. " + "the " * 100 + "hammer"

    own = study({"sensitivity": {"explainers": ["highlights"], "sentences": 2}})
    found = sentences(own, RIGHT[:1], Writer(Hostile()))
    assert found["fires"].to_list() == [True, False]
    # "<|endoftext|>" is 13 bytes here, not one token; the second sentence's hammer lies beyond the cut.
    assert found["n_tokens"].to_list() == [14, 64]


def test_equal_texts_are_written_about_once_and_two_runs_give_the_same() -> None:
    writer, calls = Writer(), MemoryCalls()
    rows = [*RIGHT, explanation(WEAK_DAY, DAYS)]
    first = sentences(study(ASKED), rows, writer, calls)
    assert len(writer.asked) == 2
    assert sentences(study(ASKED), rows, writer, calls).equals(first)
    assert len(writer.asked) == 2
    assert len(calls.answers) == 2


def test_a_killed_run_repeats_at_most_the_calls_in_flight() -> None:
    writer, calls = Writer(), MemoryCalls()
    with pytest.raises(Interrupted):
        sentences(study(ASKED), RIGHT, writer, calls, SilentProgress(fail_at=1))
    whole = sentences(study(ASKED), RIGHT, writer, calls)
    assert len(writer.asked) == 2
    assert whole.equals(sentences(study(ASKED), RIGHT))


def test_what_is_planned_is_what_is_asked_and_what_the_tallies_count() -> None:
    writer, calls, own = Writer(), MemoryCalls(), study(ASKED)
    found = sentences(own, RIGHT, writer, calls)
    planned = questions(evidence(own, RIGHT), "sensitivity")
    assert {question.key("writer") for question in planned} == set(calls.answers)
    assert sum(question.n_calls for question in planned) == len(writer.asked) == 2
    assert planned[0].requests()[0][1] == 530
    nothing = SIMULATIONS.frame([])
    assert llm_calls(own, EXPLANATIONS.frame(RIGHT), nothing, sentences=found) == 2 + 2
    tally = sentence_tally(found)
    assert (tally["sensitivity/sentences"], tally["sensitivity/fires"], tally["prompt_tokens"]) == (
        20,
        20,
        160,
    )


def test_a_model_that_does_not_answer_ends_the_run_before_anything_is_asked() -> None:
    class Dead(Writer):
        async def check(self, samples: object = ()) -> None:
            raise LLMError("no server")

    writer = Dead()
    with pytest.raises(LLMError, match="no server"):
        sentences(study(ASKED), RIGHT, writer)
    assert writer.asked == []


def test_the_table_does_not_depend_on_how_many_sentences_share_a_batch() -> None:
    class Wide(Opening):
        def open(self, *_: Any, **__: Any) -> Subject:
            from dataclasses import replace

            return replace(super().open(), batch_tokens=4096)

    narrow, wide = (sentences(study(ASKED), RIGHT, subjects=each) for each in (Opening(), Wide()))
    assert narrow.drop("peak").equals(wide.drop("peak"))
    assert narrow["peak"].to_list() == pytest.approx(wide["peak"].to_list(), abs=1e-5)
