"""The explainer `auto` tries its forms on the plain puzzles, and asks in the one that solves most of them."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from neuroscribe.errors import LLMError, StudyError
from neuroscribe.explain.auto import FORMS
from neuroscribe.explain.probe import probe_questions
from neuroscribe.explain.puzzles import PLAIN, PuzzleNeurons, plain_puzzles
from neuroscribe.explain.stage import explained
from neuroscribe.explain.wording import wording
from neuroscribe.kinds import KnownStudy, read_study
from neuroscribe.ports.models import LLM
from neuroscribe.study.spec import AUTO, Study
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from resources.llm.server import OpenAIServer
from tests.neuroscribe.simulate.answering import Answering

PUZZLES = plain_puzzles()
HALF = len(PUZZLES) // 2


class SpellingEncoder:
    """A text's vector counts its letters: a text is nearest to itself."""

    identity = "letters"

    def sentence(self, text: str) -> np.ndarray:
        counts = np.bincount([ord(letter) % 128 for letter in text], minlength=128).astype(np.float64)
        return counts / np.linalg.norm(counts)

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], np.ndarray]:
        raise AssertionError(f"only whole texts are held against each other, not the pieces of {text}")


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


def explain(study: Study, server: ScriptedServer, calls: MemoryCalls) -> pl.DataFrame:
    return explain_by(OpenAIServer("scripted", base_url=server.base_url), study, calls)


def explain_by(llm: LLM, study: Study, calls: MemoryCalls) -> pl.DataFrame:
    # Three times each, as a token that occurs less often is not shown.
    thrice = [each.model_copy(update={"activation_records": each.activation_records * 3}) for each in PUZZLES]
    evidence = PuzzleNeurons(thrice).evidence(study)
    return asyncio.run(
        explained(evidence, llm=llm, calls=calls, progress=SilentProgress(), encoder=SpellingEncoder())
    )


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
    calls = MemoryCalls()
    with ScriptedServer(Understands(highlights=HALF)) as server:
        first = explain(study_of(), server, calls)
        asked = len(server.calls)
        again = explain(study_of(), server, calls)
        assert len(server.calls) == asked
    assert asked >= len(FORMS) * len(PUZZLES)
    assert first.equals(again)


def test_a_single_form_needs_no_puzzles() -> None:
    study = study_of(forms=["highlights"])
    with ScriptedServer(Understands(highlights=len(PUZZLES))) as server:
        made = explain(study, server, MemoryCalls())
        assert len(server.calls) == len(PUZZLES)
    assert list(probe_questions(study, "auto")) == []
    assert made["form"].unique().to_list() == ["highlights"]


def test_calls_that_fail_decide_nothing_and_the_next_run_asks_them_again() -> None:
    calls = MemoryCalls()
    with pytest.raises(LLMError, match="12 of 12 puzzles in the form token_summary got no answer"):
        explain_by(Answering(lambda _: None, status="failed"), study_of(), calls)
    made = explain_by(Answering(lambda _: PUZZLES[0].explanation), study_of(), calls)
    assert made["status"].unique().to_list() == ["ok"]


def test_a_plan_knows_the_puzzles_of_every_form() -> None:
    asked = list(probe_questions(study_of(), "auto"))
    assert len({question.key("m") for question in asked}) == len(FORMS) * len(PUZZLES)
    assert [question.form for question in asked[:: len(PUZZLES)]] == list(FORMS)


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
    with pytest.raises(StudyError, match="explainers"):
        read_study(path)


def test_a_check_before_a_run_asks_in_every_form() -> None:
    spec = study_of().explainers["auto"]
    assert len(spec.samples(64)) == len(FORMS)
