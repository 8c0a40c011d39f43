"""Every simulator that asks a model, over a real HTTP server, on neurons whose activations are known."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.ports.models import Simulator
from neuroscribe.simulate.all_at_once import AllAtOnce
from neuroscribe.simulate.matching_words import MatchingWords
from neuroscribe.simulate.one_at_a_time import OneAtATime, OneAtATimeSimulator
from neuroscribe.simulate.simulator import Simulating
from neuroscribe.simulate.structured import Structured
from neuroscribe.testing.planted import (
    PLANTED,
    PlantedScript,
    planted_activation,
    planted_corpus,
    planted_tokenizer,
)
from neuroscribe.testing.servers import ScriptedServer
from resources.llm.server import OpenAIServer
from tests.neuroscribe.simulate.answering import models_with

WHO = ("token_pairs",)
NEURONS = ((0, 0), (0, 3), (0, 4), (0, 8), (0, 11), (0, 14), (1, 13))
"""Colours; breaks; markup; colours or numbers; stops; ordinary words; weather or days."""
FEW = ((0, 3), (0, 11), (0, 14))
"""Enough, on short texts, where every token is a request."""
OTHER = (1, 13)
"""Its explanation is wrong for all others, and right for some tokens of every text."""


def planted_sequences() -> list[list[str]]:
    tokenizer = planted_tokenizer()
    cut = [tokenizer(text).input_ids[:64] for text in planted_corpus(3, seed=4)]
    return [[tokenizer.decode([token]) for token in ids] for ids in cut]


SEQUENCES = planted_sequences()
FIRES = dict(PLANTED.values())


@pytest.fixture(
    params=[
        ("chat", MatchingWords),
        ("completion", MatchingWords),
        ("chat", Structured),
        ("completion", Structured),
        ("completion", AllAtOnce),
        ("chat", OneAtATime),
        ("completion", OneAtATime),
    ],
    ids=lambda param: f"{param[1].__name__} {param[0]}",
)
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    style, kind = request.param
    spec: Simulating = kind(explainers=WHO)
    with ScriptedServer(PlantedScript()) as server:
        llm = OpenAIServer("scripted", base_url=server.base_url, prompt_style=style)
        yield spec.simulator(models_with(llm))


def test_right_explanations_score_high_and_wrong_ones_low(simulator: Simulator) -> None:
    single = isinstance(simulator, OneAtATimeSimulator)
    neurons, sequences = (FEW, [own[:32] for own in SEQUENCES[1:]]) if single else (NEURONS, SEQUENCES)
    texts = list(dict.fromkeys(PLANTED[place].explanation for place in (*neurons, OTHER)))
    tokens = [[token.encode() for token in sequence] for sequence in sequences]

    async def simulated() -> dict[str, np.ndarray]:
        readings = await asyncio.gather(*(simulator.simulate(text, tokens) for text in texts))
        return {
            text: np.array([reading.activations for reading in own])
            for text, own in zip(texts, readings, strict=True)
        }

    values = asyncio.run(simulated())
    for layer, neuron in neurons:
        explanation, fires = PLANTED[layer, neuron]
        truth = np.array([[planted_activation(layer, neuron, token) for token in own] for own in sequences])
        wrong = [text for text in texts if fires.isdisjoint(FIRES[text])]
        assert truth.max() > 0, "the texts lack what the neuron fires on"
        assert score(truth, values[explanation]) >= 0.95
        assert len(wrong) >= 3
        assert max(score(truth, values[text]) for text in wrong) <= 0.1


def score(truth: np.ndarray, simulated: np.ndarray) -> float:
    value = correlations(truth[None], simulated[None], Draws.all_of(1, len(truth)))[0].value
    assert value is not None
    return value
