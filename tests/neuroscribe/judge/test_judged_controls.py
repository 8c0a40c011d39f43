"""A judged control is asked about every excerpt of a neuron, and its explainer has seen none of them."""

from neuroscribe.judge.questions import questions
from tests.neuroscribe.score.known_layer import Layer, explained, known_study

STUDY = known_study(
    scoring={"sequences_per_split": 5},
    scorers={"detection": {"explainers": ["token_pairs"], "excerpt_tokens": 4}},
)


def test_a_control_that_saw_a_top_exemplar_beyond_the_first_two_is_not_asked() -> None:
    own, other = explained(1, "own"), explained(2, "other")
    shown = Layer([own], STUDY).evidence().paper_exemplars(own, "test")
    third = shown.sequence_ids[2]
    assert shown.kinds[2] == "top"

    def controls(of_other: list[int]) -> set[str]:
        layer = Layer([own, {**other, "sequence_ids": of_other}], STUDY)
        asked = questions(layer.evidence(), "detection")
        return {each.text for each in asked if each.neuron == (1, 1)} - {"own"}

    assert controls(other["sequence_ids"]) == {"other"}
    assert controls([third]) == set()
