"""The simulators that cost nothing on all kept sequences, and sequences near a label."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.simulate.encoded import encoded_sequences
from neuroscribe.simulate.questions import Near, simulating
from neuroscribe.simulate.ranking import spared

Whole = Callable[[str], Float[np.ndarray, "sequence token"]]


def whole_corpus(evidence: LayerEvidence, encoders: EncoderSource, progress: Progress) -> dict[str, Whole]:
    """Return, by simulator that costs nothing, what reads all kept sequences under a text, 0 to 10."""
    specs = {name: simulating(evidence.study, name) for name in evidence.study.simulators}
    return {
        name: spec.whole_corpus(evidence, encoders, progress).readings
        for name, spec in specs.items()
        if spec.costs_nothing
    }


def ranked_out(evidence: LayerEvidence, whole: Mapping[str, Whole]) -> frozenset[str]:
    """Return the explanations that simulators which are asked need not read; `whole` are those by name."""

    def value(explanation: Mapping[str, Any]) -> float:
        read = whole[evidence.study.describing.simulator]
        population = evidence.population(explanation, "valid")
        kept = evidence.truth((explanation["neuron"], explanation["polarity"])).sequence_ids
        readings = _read(explanation, read)[np.isin(kept, population.sequence_ids)]
        draws = Draws.all_of(1, len(readings))
        (found,) = correlations(population.truth[None], readings[None], draws) if len(readings) else (None,)
        return -np.inf if found is None or found.value is None else found.value

    return spared(evidence, value)


def _read(explanation: Mapping[str, Any], read: Whole) -> Float[np.ndarray, "sequence token"]:
    """Return what is read under a text, or the largest of its parts."""
    return np.maximum.reduce([read(text) for text in explanation["parts"] or [explanation["text"]]])


def nearness(evidence: LayerEvidence, encoders: EncoderSource, progress: Progress) -> Near | None:
    """Return what tells how near each kept sequence is to a text, by the study's first encoder, if any."""
    if not evidence.study.encoders or not any(
        not simulating(evidence.study, name).costs_nothing for name in evidence.study.simulators
    ):
        return None
    encoder = encoders.open(evidence.study.encoders[0], progress=progress)
    return encoded_sequences(evidence, evidence.kept_ids, encoder).nearness
