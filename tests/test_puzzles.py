"""Puzzles are read strictly, explained and simulated like neurons, and ranked without favour."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.puzzle_data import PuzzleLayer, is_first
from benchmarks.puzzles import puzzle_study, tried
from neuroscribe.errors import PuzzleError, StudyError
from neuroscribe.explain.evidence import shown_excerpts, strongest_tokens
from neuroscribe.explain.logit_lens import LogitLens
from neuroscribe.explain.puzzles import POLARITY, is_solved, read_puzzles
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import SIMULATIONS
from neuroscribe.testing.planted import PLANTED, PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.rows import simulation_row
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from resources.llm.server import OpenAIServer
from tests.spelling_encoder import SpellingEncoder

PLAIN = Path(__file__).parents[1] / "neuroscribe" / "explain" / "plain_puzzles.json"
COLOURS, BREAKS = PLANTED[0, 0].explanation, PLANTED[0, 3].explanation
PUZZLES: list[dict[str, Any]] = [
    {
        "name": "colours",
        "explanation": COLOURS,
        "false_explanations": ["tabs", "a full stop"],
        "activation_records": [
            {"tokens": ["the", " red", " cat"], "activations": [0, 8, 0]},
            {"tokens": [" blue", " and", " green", " hammer"], "activations": [10, 0, 9, 0]},
        ],
    },
    {
        "name": "breaks",
        "explanation": BREAKS,
        "false_explanations": ["words for weather"],
        "activation_records": [{"tokens": ["rain", "\n", "snow"], "activations": [0, 7, 0]}],
    },
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "puzzles.json"
    path.write_text(json.dumps(PUZZLES), encoding="utf-8")
    return path


@pytest.fixture
def layer(path: Path) -> PuzzleLayer:
    return PuzzleLayer(read_puzzles(path))


class Opens:
    def __init__(self, model: Any) -> None:
        self.model = model

    def open(self, spec: object, **options: object) -> Any:
        del spec, options
        return self.model


def planted_study(folder: Path, base_url: str, *more: str) -> Study:
    path = write_planted_study(folder, base_url=base_url, style="completion")
    path.write_text("\n".join([path.read_text(encoding="utf-8"), *more]), encoding="utf-8")
    return read_study(path)


def test_explainers_see_all_sentences_largest_peak_first(layer: PuzzleLayer) -> None:
    evidence = layer.evidence(tiny_study())
    shown = shown_excerpts(evidence, (0, POLARITY), 5, 16)
    assert shown.sequence_ids == (1, 0)
    assert [[value for _, value in pairs] for pairs in shown.excerpts] == [[10, 0, 9, 0], [0, 8, 0]]
    assert strongest_tokens(evidence, (0, POLARITY), count=2, occurrences=1) == [" blue", " green"]


def test_the_scripted_model_finds_the_explanation_and_ranks_the_true_one_first(
    layer: PuzzleLayer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(PlantedScript()) as server:
        study = puzzle_study(planted_study(tmp_path, server.base_url))
        resources = {
            "llm": Opens(OpenAIServer(MODEL, base_url=server.base_url, prompt_style="completion")),
            "encoders": Opens(SpellingEncoder()),
            "calls": MemoryCalls(),
            "progress": SilentProgress(),
        }
        figures = asyncio.run(tried("puzzles.planted", layer, study, resources))
        asked = server.count("/v1/completions")
        assert asyncio.run(tried("puzzles.planted", layer, study, resources)) == figures
        assert server.count("/v1/completions") - asked <= 2, "only probes, which keep no answers"
    found = {figure.name.removeprefix("puzzles.planted."): figure.value for figure in figures}
    assert found["solved.token_pairs"] == 1.0
    assert found["truth_first.all_at_once"] == 1.0
    assert found["true_score.all_at_once"] > 0.95
    assert f"solved (cosine 1.00, false ones to 0.58): {COLOURS}" in capsys.readouterr().out


def test_the_plain_puzzles_pose_twelve_neurons_with_three_false_explanations_each() -> None:
    puzzles = read_puzzles(PLAIN)
    assert len({puzzle.explanation for puzzle in puzzles}) == len(puzzles) == 12
    assert all(len(set(puzzle.candidates)) == 4 for puzzle in puzzles)
    assert all(len(puzzle.activation_records) == 4 for puzzle in puzzles)
    silent = [not any(sentence.activations) for puzzle in puzzles for sentence in puzzle.activation_records]
    assert sum(silent) == 12, "one sentence each on which the neuron is silent"


def test_correlations_are_over_all_tokens_of_all_sentences(layer: PuzzleLayer) -> None:
    values = {0: [0.0, 1.0, 0.0], 1: [1.0, 0.0, 1.0, 1.0]}
    rows = [simulation_row("a", 0, sequence, own) for sequence, own in values.items()]
    found = layer.correlations(SIMULATIONS.frame(rows), {"a": 0})
    truth = [0, 8, 0, 10, 0, 9, 0]
    assert found["a"] == pytest.approx(np.corrcoef(truth, [0, 1, 0, 1, 0, 1, 1])[0, 1])


def test_a_constant_simulation_has_no_score(layer: PuzzleLayer) -> None:
    rows = [simulation_row("a", 0, 0, [0.0] * 3), simulation_row("a", 0, 1, [0.0] * 4)]
    assert layer.correlations(SIMULATIONS.frame(rows), {"a": 0}) == {"a": None}


@pytest.mark.parametrize(
    ("scores", "first"),
    [
        ([0.2, 0.1], True),
        ([0.1, 0.1], False),
        ([None, None], False),
        ([-0.1, None], True),
        ([None, 0.0], False),
    ],
)
def test_ties_and_undefined_scores_win_nothing(scores: list[float | None], first: bool) -> None:
    assert is_first(scores) is first


def _without_activations(puzzles: list[dict[str, Any]]) -> None:
    puzzles[1]["activation_records"][0]["activations"] = [0, 0, 0]


def _short(puzzles: list[dict[str, Any]]) -> None:
    puzzles[0]["activation_records"][1]["activations"] = [10, 0]


def _too_large(puzzles: list[dict[str, Any]]) -> None:
    puzzles[0]["activation_records"][0]["activations"][1] = 11


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_activations, "at 1: .*no token has an activation above 0"),
        (_short, r"at 0.activation_records.1: .*4 tokens and 2 activations"),
        (_too_large, r"at 0.activation_records.0.activations.1: .*less than or equal to 10"),
        (lambda puzzles: puzzles.clear(), "holds no puzzle"),
        (lambda puzzles: puzzles[0].pop("explanation"), "at 0.explanation: Field required"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    path: Path, spoil: Callable[[list[dict[str, Any]]], object], message: str
) -> None:
    puzzles = json.loads(path.read_text(encoding="utf-8"))
    spoil(puzzles)
    path.write_text(json.dumps(puzzles), encoding="utf-8")
    with pytest.raises(PuzzleError, match=message):
        read_puzzles(path)


def test_files_that_are_absent_or_no_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(PuzzleError, match=r"absent\.json: cannot be read"):
        read_puzzles(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("[{", encoding="utf-8")
    with pytest.raises(PuzzleError, match=r"bad\.json: not valid JSON"):
        read_puzzles(tmp_path / "bad.json")


def test_a_study_that_only_shows_output_weights_has_nothing_to_try(tmp_path: Path) -> None:
    study = planted_study(tmp_path, "http://127.0.0.1:9/v1")
    only = study.model_copy(update={"explainers": {"logit_lens": LogitLens()}})
    with pytest.raises(StudyError, match="nothing for its explainers to show"):
        puzzle_study(only)


def test_a_found_explanation_counts_by_a_margin() -> None:
    assert is_solved([0.75, 0.5, 0.1])
    assert not is_solved([0.6, 0.55, 0.1])
    assert not is_solved([0.0, 0.0])
