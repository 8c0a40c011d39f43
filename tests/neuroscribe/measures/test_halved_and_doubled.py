"""The sanity tests of NeuronEval: a label that covers half or twice the tokens scores less than a right one.

A planted neuron fires at one rare word; labels cover its tokens, half of these, or as many tokens of another
rare word as well. The corpus is known whole, and drawn from as the product does.
"""

import numpy as np
import pytest

from neuroscribe.evidence.drawn import STRATA, drawn
from neuroscribe.measures.agreement import auprcs, correlations, cosines, f1s, ious
from neuroscribe.measures.draws import Draws

SEQUENCES, TOKENS, FIRING = 1000, 20, 40
MEASURES = {"correlation": correlations, "cosine": cosines, "f1": f1s, "iou": ious, "auprc": auprcs}
TRUTH = np.zeros((SEQUENCES, TOKENS))
TRUTH[:FIRING, 7] = np.linspace(6, 4, FIRING)
RIGHT = 10.0 * (TRUTH > 0)
HALF = RIGHT * (np.arange(SEQUENCES) % 2 == 0)[:, None]
TWICE = RIGHT.copy()
TWICE[500 : 500 + FIRING, 3] = 10.0  # in other sequences, as rare words are


def score(measure: str, label: np.ndarray, places: np.ndarray, draws: Draws) -> float:
    truth = TRUTH[places]
    held = truth > 0 if measure in ("f1", "iou", "auprc") else truth
    return MEASURES[measure](held[None], label[places][None], draws)[0].value


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("worse", [HALF, TWICE], ids=["half", "twice"])
def test_half_or_twice_the_tokens_of_a_right_label_score_less_on_the_whole_corpus(
    measure: str, worse: np.ndarray
) -> None:
    everything = np.arange(SEQUENCES), Draws.all_of(1, SEQUENCES)

    assert score(measure, RIGHT, *everything) > 0.9
    assert score(measure, worse, *everything) < 0.8


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("worse", [HALF, TWICE], ids=["half", "twice"])
def test_so_they_do_on_draws_of_twenty_with_sequences_near_the_label(measure: str, worse: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    nearness = (worse > 0).any(1) + 0.1 * generator.random(SEQUENCES)
    scores: list[tuple[float, float]] = []
    for _ in range(20):
        order = generator.permutation(SEQUENCES)
        draw = drawn(TRUTH.max(1), order, count=20, top=20, nearness=nearness)
        strata = np.array([[STRATA.index(name) for name in draw.strata]])
        draws = Draws(strata, np.array([draw.sizes], dtype=np.float64))
        scores.append((score(measure, worse, draw.places, draws), score(measure, RIGHT, draw.places, draws)))

    assert all(bad <= good for bad, good in scores)
    assert np.mean([bad for bad, _ in scores]) < 0.85
    assert min(good for _, good in scores) > 0.9


def test_top_and_random_sequences_do_not_see_that_a_label_covers_twice_the_tokens() -> None:
    """Why that is not the headline: the added word is rare enough to be in none of the ten sequences."""
    places = np.array([3, 7, 11, 15, 19, 200, 300, 400, 700, 900])
    alike = Draws.alike(np.array([[0] * 5 + [1] * 5]))

    assert score("correlation", TWICE, places, alike) == score("correlation", RIGHT, places, alike)
