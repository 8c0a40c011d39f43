"""Simulators that are right, opposite, blind or noisy get the scores that they must."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from neuroscribe.measures.agreement import correlation
from neuroscribe.measures.bootstrap import Estimate
from neuroscribe.testing.simulators import KnownSimulator, anti_oracle, blind, noisy, oracle

SEQUENCES = [[bytes([letter]) for letter in b"a red car and a blue one, " * 20], [b"x"] * 520]


def truth(explanation: str, tokens: Sequence[bytes]) -> list[float]:
    return [10.0 if token in explanation.encode() else 0.0 for token in tokens]


def score(simulator: KnownSimulator) -> Estimate:
    readings = asyncio.run(simulator.simulate("ab", SEQUENCES))
    values = np.array([reading.activations for reading in readings])
    return correlation(np.array([truth("ab", tokens) for tokens in SEQUENCES]), values, samples=0, seed=0)


def test_the_oracle_scores_one_and_its_opposite_minus_one() -> None:
    assert score(oracle(truth)).value == pytest.approx(1)
    assert score(anti_oracle(truth)).value == pytest.approx(-1)


def test_the_blind_has_no_score_and_it_is_said_why() -> None:
    unscored = score(blind())

    assert (unscored.value, unscored.null_reason) == (None, "constant simulation")


def test_noise_lowers_the_score_by_its_share_and_none_leaves_it() -> None:
    scores = [score(noisy(truth, share=share, seed=1)).value for share in (0.0, 0.3, 0.6, 1.0)]

    assert scores[0] == pytest.approx(1)
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert abs(scores[-1]) < 0.1  # type: ignore[arg-type]


def test_noise_follows_from_its_seed_whatever_else_is_asked() -> None:
    simulator = noisy(truth, share=0.5, seed=1)
    alone = asyncio.run(simulator.simulate("ab", SEQUENCES[1:]))

    assert asyncio.run(simulator.simulate("ab", SEQUENCES))[1:] == alone
    assert asyncio.run(noisy(truth, share=0.5, seed=2).simulate("ab", SEQUENCES))[1:] != alone
