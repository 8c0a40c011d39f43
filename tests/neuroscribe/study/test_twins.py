"""A study and its twin differ in nothing but their weights, name and description."""

from typing import Any

import pytest

from neuroscribe.study.spec import Study
from neuroscribe.study.stages import provenance, stage_identity, stages_of
from neuroscribe.study.twins import Twins, twins
from neuroscribe.testing.studies import tiny_study

OWN = tiny_study(name="own")


def twin(name: str = "twin", **given: Any) -> Study:
    return tiny_study(**{"name": name, "description": "random", "subject": {"randomised": True}} | given)


def test_twins_find_each_other() -> None:
    assert twins(OWN, [OWN, twin()]) == Twins(OWN, twin())
    assert twins(twin(), [OWN, twin()]) == Twins(OWN, twin())


@pytest.mark.parametrize(
    "given",
    [
        {"subject": {"randomised": True, "dtype": "float32"}},
        {"corpus": {"seed": 1}},
        {"scoring": {"seed": 1}},
        {"explainers": {"token_pairs": {"excerpts": 4}}},
        {"subject": {"randomised": False}},
    ],
)
def test_a_study_that_differs_in_anything_else_is_no_twin(given: dict[str, Any]) -> None:
    assert twins(OWN, [OWN, twin(**given)]) is None


def test_of_several_twins_the_first_by_name_is_taken() -> None:
    assert twins(OWN, [twin("b"), twin("a")]) == Twins(OWN, twin("a"))


def test_a_twin_shares_the_corpus_and_nothing_that_its_weights_reach() -> None:
    for stage in stages_of(OWN):
        same = stage_identity(OWN, stage) == stage_identity(twin(), stage)
        assert same == (stage == "corpus"), stage


def test_files_of_a_twin_say_that_the_weights_are_random() -> None:
    assert provenance(twin(), "scores")["subject_revision"] == "unpinned, randomised, seed 0"
    assert provenance(OWN, "scores")["subject_revision"] == "unpinned"
    assert twin().subject.title == "m, randomised"
