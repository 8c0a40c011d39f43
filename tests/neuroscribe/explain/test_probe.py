"""The explainer `auto` tries its forms on the plain puzzles, and asks in the one that solves most of them."""

import asyncio
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from neuroscribe.errors import LLMError, StudyError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.auto import FORMS
from neuroscribe.explain.explainer import Before
from neuroscribe.explain.probe import Tried, best_of, probe_questions
from neuroscribe.explain.puzzles import PLAIN, PuzzleNeurons, plain_puzzles
from neuroscribe.explain.questions import questions
from neuroscribe.explain.stage import explained
from neuroscribe.explain.wording import wording
from neuroscribe.kinds import KnownStudy, read_study
from neuroscribe.ports.models import LLM
from neuroscribe.report.plan import layer_plan
from neuroscribe.report.planned_calls import Asked, Found
from neuroscribe.study.sampling import SampleSpec
from neuroscribe.study.scoring import ScoringSpec
from neuroscribe.study.spec import AUTO, Study
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from resources.llm.server import OpenAIServer
from tests.neuroscribe.simulate.answering import Answering
from tests.spelling_encoder import SpellingEncoder

PUZZLES = plain_puzzles()
HALF = len(PUZZLES) // 2


class Understands:
    """A model that solves so many of the puzzles in each form of asking."""

    def __init__(self, **solved: int) -> None:
        self.solved = solved

    def reply(self, prompt: str) -> str:
        kind = next(kind for kind in _KINDS if _begins(prompt, wording(kind).instruction, _zero_shot(kind)))
        is_worked = prompt.startswith(wording(kind).instruction)
        form = kind if is_worked else f"{kind}_zero_shot"
        asked = prompt.rpartition(wording(kind).examples[-1].explanation)[2] if is_worked else prompt
        place = max(range(len(PUZZLES)), key=lambda each: _share(each, asked))
        puzzle = PUZZLES[place]
        return puzzle.explanation if place < self.solved.get(form, 0) else puzzle.false_explanations[0]

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        raise AssertionError(f"nothing is simulated, but {explanation} on {len(tokens)} tokens")


class Mute(Understands):
    """A model that says nothing in one form, and errs in all others."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._kind = form

    def reply(self, prompt: str) -> str:
        return "" if prompt.startswith(wording(self._kind).instruction) else super().reply(prompt)


_KINDS = ("token_summary", "phrase_summary", "highlights")


def _zero_shot(kind: str) -> str:
    return wording(kind).without_examples.instruction


def _begins(prompt: str, *instructions: str) -> bool:
    return any(prompt.startswith(instruction) for instruction in instructions)


def _share(place: int, asked: str) -> float:
    firing = {
        token.strip()
        for sentence in PUZZLES[place].activation_records
        for token, value in zip(sentence.tokens, sentence.activations, strict=True)
        if value
    }
    return sum(token in asked for token in firing) / len(firing)


def study_of(**settings: Any) -> Study:
    tiny = tiny_study().model_dump(include={"name", "description", "subject", "corpus", "llm"})
    tables = {"explainers": {"auto": settings}, "simulators": {"embedding": {"explainers": ["auto"]}}}
    return KnownStudy.model_validate({**tiny, **tables, "scoring": {"stability_neurons": 0}})


def explain(study: Study, server: ScriptedServer, calls: MemoryCalls, layer: int = 0) -> pl.DataFrame:
    return explain_by(OpenAIServer("scripted", base_url=server.base_url), study, calls, layer)


def explain_by(llm: LLM, study: Study, calls: MemoryCalls, layer: int = 0) -> pl.DataFrame:
    progress, encoder = SilentProgress(), SpellingEncoder()
    return asyncio.run(
        explained(neurons(study, layer), llm=llm, calls=calls, progress=progress, encoder=encoder)
    )


def neurons(study: Study, layer: int = 0) -> LayerEvidence:
    """The puzzles as a layer's neurons; each sentence three times, as a rarer token is not shown."""
    thrice = [each.model_copy(update={"activation_records": each.activation_records * 3}) for each in PUZZLES]
    evidence = PuzzleNeurons(thrice).evidence(study)
    return LayerEvidence(study, layer, evidence.tables, neurons=evidence.neurons)


@pytest.mark.parametrize("best", FORMS)
def test_neurons_are_asked_about_in_the_form_that_solves_most_puzzles(best: str) -> None:
    with ScriptedServer(Understands(**dict.fromkeys(FORMS, HALF) | {best: len(PUZZLES)})) as server:
        made = explain(study_of(), server, MemoryCalls())
    assert made["form"].unique().to_list() == [best]
    assert made["text"].to_list() == [puzzle.explanation for puzzle in PUZZLES]


def test_of_equally_good_forms_the_first_is_taken() -> None:
    solved = dict.fromkeys(FORMS, HALF)
    with ScriptedServer(Understands(**solved)) as server:
        made = explain(study_of(forms=["phrase_summary", "token_summary"]), server, MemoryCalls())
    assert made["form"].unique().to_list() == ["phrase_summary"]


def test_a_model_is_tried_once_whatever_number_of_layers_is_explained() -> None:
    calls, study = MemoryCalls(), study_of()
    with ScriptedServer(Understands(highlights=HALF)) as server:
        explain(study, server, calls)
        asked = len(server.calls)
        # The neurons of the other layer are shown alike here, so that nothing is left to be asked.
        other = explain(study, server, calls, layer=1)
        assert len(server.calls) == asked
    assert asked == len(FORMS) * len(PUZZLES) + len(PUZZLES)
    assert other["form"].unique().to_list() == ["highlights"]
    assert other["layer"].unique().to_list() == [1]


def test_what_solves_more_is_taken_before_what_is_further_from_the_false() -> None:
    tried = [Tried("a", 2, 0.9), Tried("b", 3, 0.1), Tried("c", 3, 0.2), Tried("d", 3, 0.2)]
    assert best_of(tried).form == "c"


def test_a_form_that_says_nothing_is_worse_than_one_that_errs() -> None:
    with ScriptedServer(Mute("phrase_summary")) as server:
        made = explain(study_of(forms=["phrase_summary", "token_summary"]), server, MemoryCalls())
    assert made["form"].unique().to_list() == ["token_summary"]


def test_a_model_that_explains_no_puzzle_is_refused_before_the_first_neuron() -> None:
    llm = Answering(lambda _: "I'm sorry, but I can't help with that.")
    with pytest.raises(LLMError, match=r"48 of 48 answers refused\); give \[explainers.auto\] a larger"):
        explain_by(llm, study_of(), MemoryCalls())
    assert len(llm.asked) == len(FORMS) * len(PUZZLES)


def test_each_neuron_is_asked_about_once_though_forms_could_be_shown_further_draws() -> None:
    study = study_of()
    study = study.model_copy(update={"scoring": ScoringSpec(stability_neurons=3)})
    asked = questions(neurons(study), "auto", Before(form="highlights"))
    assert len(asked) == len(PUZZLES)


def test_a_single_form_needs_no_puzzles() -> None:
    study = study_of(forms=["highlights"])
    with ScriptedServer(Understands(highlights=len(PUZZLES))) as server:
        made = explain(study, server, MemoryCalls())
        assert len(server.calls) == len(PUZZLES)
    assert list(probe_questions(study, "auto")) == []
    assert made["form"].unique().to_list() == ["highlights"]


def test_calls_that_fail_decide_nothing_and_the_next_run_asks_them_again() -> None:
    calls = MemoryCalls()
    with pytest.raises(LLMError, match="48 of 48 puzzles by which a form of asking is chosen got no answer"):
        explain_by(Answering(lambda _: None, status="failed"), study_of(), calls)
    made = explain_by(Answering(lambda _: PUZZLES[0].explanation), study_of(), calls)
    assert made["status"].unique().to_list() == ["ok"]


def test_a_plan_counts_the_puzzles_once_and_apart_from_the_neurons() -> None:
    study = study_of()
    wide = study.model_copy(
        update={
            "subject": study.subject.model_copy(update={"neurons_per_layer": 64}),
            "sample": SampleSpec(neurons_per_layer=64),
        }
    )
    free = Asked(lambda _: None)
    planned = [
        layer_plan(wide, layer, Found(), explaining=free, simulating=free, is_first=is_first)
        .filter(stage="explanation")["calls"]
        .to_list()
        for layer, is_first in ((0, True), (1, False))
    ]
    assert planned == [[len(FORMS) * len(PUZZLES) + 64], [64]]


def test_no_worked_example_is_about_a_puzzle() -> None:
    firing = {
        token.strip().casefold()
        for puzzle in PUZZLES
        for sentence in puzzle.activation_records
        for token, value in zip(sentence.tokens, sentence.activations, strict=True)
        if value
    }
    examples = {
        word
        for kind in _KINDS
        for example in wording(kind).examples
        # What is named follows the colon; "not letting go" before it is no example of a negation.
        for text in (example.explanation.rpartition(": ")[2], *example.shown.get("tokens", ()))
        for word in re.findall(r"\w+", text.casefold())
    }
    assert firing & examples == set()


def test_another_puzzle_is_another_identity() -> None:
    wordings = study_of().explainers["auto"].wording
    assert PLAIN in wordings
    assert {"token_summary", "phrase_summary", "highlights"} <= set(wordings)


def test_a_study_leaves_its_explainers_to_auto_by_one_word(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """explainers = "auto"
description = "d"
subject = { model = "m", dtype = "float32", layers = 2, neurons_per_layer = 4 }
corpus = { files = "x", sequences = 300 }
llm = { provider = "openai", model = "m" }
simulators = { embedding = { explainers = ["phrases", "auto"] } }
""",
        encoding="utf-8",
    )
    study = read_study(path)
    assert {name: spec.kind_name for name, spec in study.explainers.items()} == {
        name: table["kind"] for name, table in AUTO.items()
    }
    path.write_text(path.read_text(encoding="utf-8").replace('"auto"\n', '"all"\n', 1), encoding="utf-8")
    with pytest.raises(StudyError, match="'all' names no explainers; write \"auto\", or a section for each"):
        read_study(path)


def test_a_form_that_is_named_twice_is_refused_and_a_single_one_needs_no_encoder() -> None:
    with pytest.raises(ValidationError, match="names a form twice"):
        study_of(forms=["highlights", "highlights"])
    assert study_of().explainers["auto"].uses_encoder
    assert not study_of(forms=["highlights"]).explainers["auto"].uses_encoder
    assert study_of(forms=["token_summary"]).explainers["auto"].excerpts_shown == 0


def test_a_check_before_a_run_asks_in_every_form() -> None:
    spec = study_of().explainers["auto"]
    assert len(spec.samples(64)) == len(FORMS)
