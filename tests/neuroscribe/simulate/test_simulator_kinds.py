"""What a study's simulators need, what their results depend on, and which models they refuse."""

from typing import Any

import pytest

from neuroscribe.errors import CapabilityError
from neuroscribe.simulate.all_at_once import AllAtOnce
from neuroscribe.simulate.matching_words import MatchingWords
from neuroscribe.simulate.one_at_a_time import OneAtATime
from neuroscribe.simulate.prompts import prompt_identity
from neuroscribe.simulate.structured import Structured
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, stage_version
from neuroscribe.testing.studies import tiny_study
from tests.neuroscribe.simulate.answering import Answering, models_with

WHO = ("token_pairs",)


def study(*kinds: str) -> Study:
    return tiny_study(simulators={kind: {"explainers": WHO} for kind in kinds})


@pytest.mark.parametrize(
    ("kinds", "needs"),
    [
        (("all_at_once",), {"prompt_logprobs"}),
        (("one_at_a_time",), {"next_token"}),
        (("matching_words", "structured"), {"reply"}),
        (("matching_words", "embedding"), {"reply", "encoder"}),
    ],
)
def test_a_study_needs_what_its_simulators_need(kinds: tuple[str, ...], needs: set[str]) -> None:
    assert study(*kinds).simulating_needs == needs


@pytest.mark.parametrize(
    ("kinds", "layouts"),
    [
        (("all_at_once",), ("asked", "hidden")),
        (("one_at_a_time",), ("one_at_a_time",)),
        (("structured", "matching_words"), ("matching_words", "structured")),
        (("embedding",), ()),
    ],
)
def test_simulations_depend_on_the_wording_of_their_own_prompts_alone(
    kinds: tuple[str, ...], layouts: tuple[str, ...]
) -> None:
    settings = STAGES["simulations"].settings(study(*kinds))

    assert settings["prompts"] == [prompt_identity(layout) for layout in layouts]


def test_another_simulator_makes_only_simulations_new_and_what_is_described_by_it() -> None:
    one, two = study("matching_words"), study("structured")

    new = {stage for stage in STAGES if stage_version(one, stage) != stage_version(two, stage)}

    assert new == {"simulations", "descriptions"}


def test_every_prompt_has_an_identity_of_its_own() -> None:
    layouts = ("hidden", "asked", "places", "one_at_a_time", "matching_words", "structured")

    assert len({prompt_identity(layout) for layout in layouts}) == len(layouts)


@pytest.mark.parametrize("spec", [AllAtOnce(explainers=WHO), OneAtATime(explainers=WHO)])
def test_a_model_that_only_answers_is_refused_where_log_probabilities_are_read(spec: Any) -> None:
    with pytest.raises(CapabilityError, match=f"{spec.kind} cannot work with script"):
        spec.simulator(models_with(Answering(lambda _: "")))


@pytest.mark.parametrize("spec", [MatchingWords(explainers=WHO), Structured(explainers=WHO)])
def test_a_model_that_only_answers_suffices_for_simulators_that_read_words(spec: Any) -> None:
    simulator = spec.simulator(models_with(Answering(lambda _: "")))

    assert simulator.identity == f"script; {prompt_identity(spec.kind)}"
    assert simulator.calls_at_once == 3
