"""A layer whose neurons are known on every sequence of its text, simulated and scored as a study would be."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.models import Simulator
from neuroscribe.ports.replies import Simulated
from neuroscribe.score.stage import scored_layer
from neuroscribe.simulate.questions import simulation_tasks
from neuroscribe.simulate.stage import simulated
from neuroscribe.simulate.token_match import TokenMatchSimulator
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS, NEURON_RECORDS, SAMPLED_ACTIVATIONS
from neuroscribe.testing.rows import exemplar_row, explanation_row, filled, sequence_table, vocabulary_table
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from neuroscribe.testing.studies import tiny_study
from tests.neuroscribe.simulate.answering import NoEncoders

SEQUENCES, NEURONS = 300, 13
LETTERS = "abcd"
DOCUMENTS = tuple(sequence // 2 for sequence in range(SEQUENCES))
HELD_OUT = frozenset(document for document in DOCUMENTS if document % 5 == 4)
TRAIN = frozenset(document for document in DOCUMENTS if document % 4 == 0)
"""Documents of which explainers are shown exemplars, of some neurons these and of others those."""
SPLITS = ("train", "valid", "test", "valid")
TOKENS = [
    [len(LETTERS) + sequence, *np.random.default_rng([7, sequence]).integers(len(LETTERS), size=3).tolist()]
    for sequence in range(SEQUENCES)
]
"""The first token of each sequence names it; three letters follow."""
SPELLED = [
    *(letter.encode() for letter in LETTERS),
    *(f"#{sequence}".encode() for sequence in range(SEQUENCES)),
]


@cache
def truth(neuron: int) -> np.ndarray:
    """A neuron is strong on its letter, here more and there less, and noisy elsewhere."""
    random = np.random.default_rng([1, neuron])
    is_letter = np.array(TOKENS) == neuron % len(LETTERS)
    strength = random.exponential(3.0, size=(SEQUENCES, 1))
    return np.where(is_letter, strength, random.random((SEQUENCES, 4)) * 0.3).astype(np.float32).astype(float)


def exemplars(neuron: int) -> list[dict[str, Any]]:
    """The twenty top sequences and fifteen others, their split that of their document."""
    peaks = truth(neuron).max(1)
    ranked = np.argsort(-peaks, kind="stable")[:20].tolist()
    shared = np.random.default_rng(3).permutation(SEQUENCES).tolist()
    others = [own for own in shared if own not in ranked and DOCUMENTS[own] not in TRAIN][:15]
    return [
        exemplar_row(
            neuron, own, truth(neuron)[own].tolist(), kind=kind, rank=rank, split=SPLITS[DOCUMENTS[own] % 4]
        )
        for kind, ids in (("top", ranked), ("random", others))
        for rank, own in enumerate(ids)
    ]


def explained(neuron: int, text: str, index: int = 0, **given: Any) -> dict[str, Any]:
    """An explanation made from a neuron's training exemplars, or from those that are given."""
    shown = [
        row["sequence_id"] for row in exemplars(neuron) if (row["kind"], row["split"]) == ("top", "train")
    ]
    return explanation_row(neuron, index, **{"text": text, "sequence_ids": shown, **given})


class Reading:
    """Reads each sequence as the neuron that an explanation names, with as much noise as it says."""

    identity, calls_at_once, keeps_calls, sequences_per_call = "reading", 3, False, 1

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def simulate(self, explanation: str, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
        await asyncio.sleep(0)
        numbers = [int(tokens[0][1:]) for tokens in sequences]
        self.asked += [(explanation, number) for number in numbers]
        return [Simulated(tuple(read(explanation, number).tolist()), 1.0) for number in numbers]


def read(explanation: str, sequence: int) -> np.ndarray:
    """What `neuron noise` lets one read: 0.6 of the activation and noise; of `-1`, the opposite."""
    neuron, noise = explanation.split()
    own = truth(abs(int(neuron)))[sequence] * np.sign(int(neuron))
    random = np.random.default_rng([sequence, *explanation.encode()]).random(4)
    return own * 0.6 + float(noise) * random


@dataclass
class Layer:
    """Some explanations of the layer, their simulations and their scores."""

    explanations: Sequence[Mapping[str, Any]]
    study: Study = field(default_factory=lambda: known_study())
    simulators: Mapping[str, Simulator] = field(default_factory=dict[str, Simulator])
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    """In the place of the usual ones."""

    def evidence(self, **tables: pl.DataFrame) -> LayerEvidence:
        """The layer's evidence, with further tables."""
        explanations = EXPLANATIONS.frame([dict(row) for row in self.explanations])
        usual = {**base_tables(tuple(range(NEURONS))), "explanations": explanations}
        neurons = [(neuron, 1) for neuron in range(NEURONS)]
        return LayerEvidence(self.study, 0, {**usual, **self.tables, **tables}, neurons=neurons)

    def simulated(
        self, calls: MemoryCalls | None = None, progress: SilentProgress | None = None
    ) -> pl.DataFrame:
        """The table of simulations; letters are matched, everything else is read by `Reading`."""
        evidence = self.evidence()
        free = {"token_match": TokenMatchSimulator()}
        simulators = {name: free.get(name) or Reading() for name in self.study.simulators} | {
            **self.simulators
        }
        return asyncio.run(
            simulated(
                evidence,
                {name: simulation_tasks(evidence, name) for name in self.study.simulators},
                simulators=simulators,
                calls=calls or MemoryCalls(),
                progress=progress or SilentProgress(),
            )
        )

    def scores(self, simulations: pl.DataFrame | None = None) -> pl.DataFrame:
        """The table of scores, of other simulations where they are given."""
        made = self.simulated() if simulations is None else simulations
        evidence = self.evidence(simulations=made)
        return scored_layer(evidence, encoders=NoEncoders(), progress=SilentProgress())


def known_study(**given: Any) -> Study:
    """A study of the layer, whose paper's regimes take two exemplars of a kind."""
    scoring = {"sequences_per_split": 2} | given.pop("scoring", {})
    return tiny_study(
        subject={"neurons_per_layer": NEURONS} | given.pop("subject", {}),
        corpus={"sequences": SEQUENCES},
        scoring=scoring,
        **given,
    )


@cache
def base_tables(neurons: tuple[int, ...]) -> dict[str, pl.DataFrame]:
    """What is there before anything is explained."""
    sampled = [
        {"neuron": neuron, "sequence_id": own, "activations": truth(neuron)[own].tolist()}
        for neuron in neurons
        for own in range(SEQUENCES)
    ]
    return {
        "corpus/sequences": sequence_table(TOKENS, held_out=HELD_OUT, documents=DOCUMENTS),
        "corpus/vocabulary": vocabulary_table(SPELLED),
        "neuron_records": NEURON_RECORDS.frame([row for neuron in neurons for row in exemplars(neuron)]),
        "sampled_activations": filled(SAMPLED_ACTIVATIONS, *sampled),
    }


def only(
    scores: pl.DataFrame, of: str, measure: str = "correlation_all_at_once", **place: str
) -> dict[str, Any]:
    """The one row of an explanation, over the corpus on `test` unless another place is given."""
    usual = {"split": "test", "regime": "corpus"} | place
    rows = scores.filter(explanation_id=of, scorer=measure, **usual)
    assert len(rows) == 1
    return rows.row(0, named=True)


def unseen(explanation: Mapping[str, Any]) -> np.ndarray:
    """The sequences of whose document an explanation's explainer saw nothing."""
    seen = {DOCUMENTS[sequence] for sequence in explanation["sequence_ids"]}
    return np.array([own for own in range(SEQUENCES) if DOCUMENTS[own] not in seen])


def pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Pearson's correlation with a weight for each sequence, from its definition."""
    each = np.ones(len(x)) if weights is None else weights
    w = np.repeat(each, x.shape[1])
    one, other = (values.ravel() - np.average(values.ravel(), weights=w) for values in (x, y))
    return float((w * one * other).sum() / np.sqrt((w * one * one).sum() * (w * other * other).sum()))
