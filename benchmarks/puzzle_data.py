"""Neuron puzzles as simulators take them, and which of their explanations scores highest."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from neuroscribe.explain.puzzles import POLARITY, PuzzleNeurons
from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.simulate.questions import Task


class PuzzleLayer(PuzzleNeurons):
    """Puzzles as neurons whose explanations are simulated, too."""

    def tasks(self, texts: Mapping[str, tuple[int, str]]) -> list[Task]:
        """Return the simulation of each explanation, by id, on all sentences of its neuron."""
        return [
            Task(identity, text, (neuron, POLARITY), "test", self.sequences(neuron))
            for identity, (neuron, text) in texts.items()
        ]

    def correlations(self, simulations: pl.DataFrame, neurons: Mapping[str, int]) -> dict[str, float | None]:
        """Return each explanation's correlation over all its tokens, None where it is not defined.

        `simulations` are SIMULATIONS by one simulator, `neurons` names the neuron of each explanation id.
        """
        scores: dict[str, float | None] = {}
        for identity, neuron in neurons.items():
            expected = simulations.filter(pl.col("explanation_id") == identity).sort("sequence_id")
            values = np.array(expected["simulated"].explode().to_list(), dtype=np.float64)
            sentences = self.puzzles[neuron].activation_records
            truth = np.array([value for sentence in sentences for value in sentence.activations])
            (score,) = correlations(truth[None, None], values[None, None], Draws.all_of(1, 1))
            scores[identity] = score.value
        return scores


def is_first(scores: Sequence[float | None]) -> bool:
    """Tell whether the first score is above all others; an undefined one is below all, a tie is no win."""
    first, *others = (float("-inf") if score is None else score for score in scores)
    return all(first > other for other in others)
