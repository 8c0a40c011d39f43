"""Which explainers contend for a neuron, and whose scores decide between them."""

from typing import Any, ClassVar, Literal

import pytest
from pydantic import ValidationError

from neuroscribe.study.describing import describing
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.scoring import ScoringSpec
from neuroscribe.study.spec import Study
from neuroscribe.testing.studies import tiny_study

BOTH = ["token_pairs", "token_list"]
ENCODER = {"artefact": "all-minilm-l6-v2"}


def study(simulators: dict[str, Any], **given: Any) -> Study:
    return tiny_study(explainers={"token_pairs": {}, "token_list": {}}, simulators=simulators, **given)


def test_the_first_simulator_that_costs_nothing_and_reads_two_explainers_decides():
    found = study(
        {
            "all_at_once": {"explainers": BOTH},
            "token_match": {"explainers": ["token_list"]},
            "embedding": {"explainers": ["token_list", "token_pairs"]},
        }
    ).describing
    assert (found.simulator, found.explainers) == ("embedding", ("token_pairs", "token_list"))
    assert found.weighed == ("token_pairs", "token_list")


def test_without_one_nothing_is_chosen_and_the_first_explainer_of_the_first_simulator_describes():
    asked = study({"all_at_once": {"explainers": BOTH}, "token_match": {"explainers": ["token_list"]}})
    assert asked.describing.simulator == "all_at_once"
    assert (asked.describing.explainers, asked.describing.weighed) == (("token_pairs",), ())
    assert asked.population_splits("token_pairs") == ("test",)


def test_a_simulator_that_is_asked_decides_only_where_it_is_named():
    named = study({"all_at_once": {"explainers": BOTH}}, scoring={"decides": "all_at_once"})
    assert named.describing.weighed == ("token_pairs", "token_list")
    assert named.simulated_splits("token_list", "all_at_once") == ("valid", "test")


def test_what_is_asked_is_not_asked_on_valid_for_a_choice_that_costs_nothing():
    both = study({"all_at_once": {"explainers": BOTH}, "embedding": {**ENCODER, "explainers": BOTH}})
    assert both.population_splits("token_pairs") == ("valid", "test")
    assert both.scored_splits("token_pairs", "embedding") == ("valid", "test")
    assert both.scored_splits("token_pairs", "all_at_once") == ("test",)
    assert both.scored_splits("token_pairs") == ("test",)
    assert both.simulated_splits("token_pairs", "all_at_once") == ("test",)
    assert both.simulated_splits("token_pairs", "embedding") == ("test",)  # it reads the corpus itself


@pytest.mark.parametrize(
    ("scoring", "said"),
    [
        ({"decides": "embedding"}, "is not among the simulators all_at_once, token_match; correct it"),
        ({"simulated_candidates": 2}, "scoring.simulated_candidates needs a simulator that costs nothing"),
    ],
)
def test_what_cannot_be_decided_is_refused(scoring: dict[str, Any], said: str):
    simulators = {"all_at_once": {"explainers": BOTH}, "token_match": {"explainers": ["token_list"]}}
    with pytest.raises(ValidationError, match=said):
        study(simulators, scoring=scoring)


@pytest.mark.parametrize(
    "simulators",
    [
        {"all_at_once": {"explainers": BOTH, "layers": [0]}},
        {
            "token_match": {"explainers": ["token_list"]},
            "embedding": {**ENCODER, "explainers": BOTH, "layers": [0]},
        },
    ],
)
def test_what_decides_reads_all_that_is_explained(simulators: dict[str, Any]):
    *_, last = simulators
    with pytest.raises(ValidationError, match=f"simulators.{last}.layers: this simulator decides which text"):
        study(simulators)
    few = simulators | {last: {**simulators[last], "layers": "all", "neurons_per_layer": 1}}
    with pytest.raises(ValidationError, match=f"simulators.{last}.neurons_per_layer: this simulator decides"):
        study(few)


class _Senses(ExplainerSpec):
    kind: Literal["senses"] = "senses"

    @property
    def rival(self) -> str | None:
        return "groups"


class _Groups(ExplainerSpec):
    is_mark: ClassVar[bool] = True

    kind: Literal["groups"] = "groups"


def test_a_rival_is_weighed_and_describes_nothing_and_must_be_read_too():
    simulators = study({"token_match": {"explainers": BOTH}}).simulators
    read = {"t": simulators["token_match"].model_copy(update={"explainers": ("senses", "groups")})}
    explainers: dict[str, ExplainerSpec] = {"senses": _Senses(), "groups": _Groups()}
    found = describing(explainers, read, ScoringSpec())
    assert (found.explainers, found.rivals) == (("senses",), ("groups",))
    assert found.weighed == ("senses", "groups")
    alone = {"t": read["t"].model_copy(update={"explainers": ("senses",)})}
    with pytest.raises(ValueError, match="describes a neuron only where it beats 'groups'"):
        describing(explainers, alone, ScoringSpec())


def test_recognisable_neurons_are_further_ones():
    with pytest.raises(ValidationError, match="recognisable draws further neurons"):
        study({"all_at_once": {"explainers": BOTH}}, sample={"recognisable": 1})
