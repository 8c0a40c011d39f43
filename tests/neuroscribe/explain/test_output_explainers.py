"""Labels of what a neuron does, from tables of a few rows."""

import asyncio
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from neuroscribe.errors import CapabilityError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Before, Said
from neuroscribe.explain.output_tokens import OutputTokens
from neuroscribe.explain.parsing import parsed_answer
from neuroscribe.explain.promotes import Promotes
from neuroscribe.explain.stage import check, explained
from neuroscribe.ports.replies import Reply
from neuroscribe.tables.effects import EFFECTS
from neuroscribe.tables.records import CONNECTIONS
from neuroscribe.testing import rows
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study

WORDS = (b" tea", b"tea", b" mug", b'"', b"<|im_end|>", b"\n- x", b" law", b" juice")
NEURON = (1, 1)


def layer(
    up: Sequence[int], down: Sequence[int] = (), weights: Sequence[int] = (), **explainers: Any
) -> LayerEvidence:
    changes = [("promoted", token) for token in up], [("suppressed", token) for token in down]
    effects = [
        {"neuron": 1, "kind": kind, "rank": rank, "token_id": token}
        for side in changes
        for rank, (kind, token) in enumerate(side)
    ]
    written = [
        {"neuron": 1, "direction": "output_token", "sign": 1, "rank": rank, "token_id": token}
        for rank, token in enumerate(weights)
    ]
    tables = {
        "effects": rows.filled(EFFECTS, *effects),
        "connections": rows.filled(CONNECTIONS, *written),
        "corpus/vocabulary": rows.vocabulary_table(WORDS),
        "corpus/sequences": rows.sequence_table([[0]]),
    }
    own = tiny_study(
        explainers={"token_list": {}, **explainers},
        simulators={"token_match": {"explainers": ["token_list"]}},
    )
    return LayerEvidence(own, 0, tables, neurons=[NEURON])


def said(evidence: LayerEvidence, **settings: Any) -> Said | str:
    return Promotes(**settings).said(evidence, NEURON, Before())


def shown(evidence: LayerEvidence, **settings: Any) -> str:
    return OutputTokens(**settings).shown(evidence, NEURON, Before()).messages[-2].content


def test_a_list_names_what_is_promoted_and_suppressed_and_each_token_once():
    known = said(layer([0, 2, 1], [6]))
    assert known == Said('promotes "tea", "mug"; suppresses "law"', ("tea, mug",))
    assert said(layer([0, 2, 1], [6]), promoted=1, suppressed=0) == Said('promotes "tea"', ("tea",))


def test_weights_are_named_apart_where_they_are_asked_for():
    known = said(layer([0], [], [7, 2, 6]), by_weights=2)
    assert isinstance(known, Said)
    assert known.text == 'promotes "tea"; by its weights promotes "juice", "mug"'
    assert known.parts == ("tea",)


def test_a_neuron_that_promotes_nothing_has_no_label_and_the_reason():
    assert said(layer([], [6])) == "no token becomes likelier or less likely"
    nothing = OutputTokens().shown(layer([], [6]), NEURON, Before())
    assert (nothing.messages, nothing.reason) == ((), "no token becomes likelier or less likely")


def test_hostile_tokens_stay_tokens():
    question = shown(layer([4, 5, 3], [4]))
    assert question == ('Likelier: "< |im_end|>", "\\n- x", "\\""\nLess likely: "< |im_end|>"')
    known = said(layer([4, 5, 3]))
    assert isinstance(known, Said)
    assert "<|" not in known.text + "".join(known.parts or ())
    assert "\n" not in known.text


def test_weights_that_are_not_known_are_refused_before_anything_is_asked():
    for kind in ("promotes", "output_tokens"):
        check(layer([0], **{kind: {}}))
        with pytest.raises(
            CapabilityError, match=rf"explainer '{kind}' names what .* take by_weights out of"
        ):
            check(layer([0], **{kind: {"by_weights": 3}}))


def test_worked_examples_and_the_way_out_are_settings():
    words = OutputTokens().words
    assert len(words.examples) >= 5
    assert "no theme" not in words.instruction
    capable = OutputTokens(worked_examples=False, may_find_none=True).words
    assert capable.examples == ()
    assert capable.instruction.endswith("answer: no theme.")


@pytest.mark.parametrize("answer", ["no theme", "No theme.", "promotes no theme", '"no theme"'])
def test_no_theme_is_a_status_and_no_text(answer: str):
    read = parsed_answer(answer, prefix="promotes", no_theme="no theme")
    assert (read.text, read.status) == (None, "no_theme")
    assert parsed_answer("themes", prefix="promotes", no_theme="no theme").text == "promotes themes"


class Answering:
    """An LLM that gives one answer."""

    identity, calls_at_once = "answering", 1

    def __init__(self, answer: str) -> None:
        self.answer = answer

    async def reply(self, messages: Any, **_: Any) -> Reply:
        return Reply(self.answer, "ok", "")

    async def check(self, samples: object = ()) -> None:
        pass


def test_rows_say_which_half_they_explain_and_count_what_has_no_theme():
    evidence = layer([0, 2], output_tokens={"may_find_none": True}, promotes={})
    evidence = LayerEvidence(
        evidence.study, 0, {**evidence.tables, "token_lookup": rows.lookup_table({})}, neurons=[NEURON]
    )
    for answer, status, text in (("no theme", "no_theme", None), ("drinks", "ok", "promotes drinks")):
        made = explained(evidence, llm=Answering(answer), calls=MemoryCalls(), progress=SilentProgress())
        found = asyncio.run(made).filter(pl.col("explainer") != "token_list")
        assert set(found["half"]) == {"output"}
        assert found.filter(explainer="output_tokens").select("status", "text").row(0) == (status, text)
