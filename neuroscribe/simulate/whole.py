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
from neuroscribe.simulate.questions import Near, simulating, texts_for
from neuroscribe.simulate.ranking import spared

Whole = Callable[..., Float[np.ndarray, "sequence token"]]
"""What a simulator that costs nothing reads on all kept sequences under one or more texts, 0 to 10."""


def whole_corpus(evidence: LayerEvidence, encoders: EncoderSource, progress: Progress) -> dict[str, Whole]:
    """Return, by name, the simulators that cost nothing, as functions of an explanation's texts."""
    specs = {name: simulating(evidence.study, name) for name in evidence.study.simulators}
    return {
        name: spec.whole_corpus(evidence, encoders, progress).readings
        for name, spec in specs.items()
        if spec.costs_nothing
    }


def ranked_out(evidence: LayerEvidence, whole: Mapping[str, Whole]) -> frozenset[str]:
    """Return the explanations that simulators which are asked need not read; `whole` are those by name."""

    def value(explanation: Mapping[str, Any]) -> float:
        decides = evidence.study.describing.simulator
        population = evidence.population(explanation, "valid")
        kept = evidence.truth((explanation["neuron"], explanation["polarity"])).sequence_ids
        texts = texts_for(evidence.study, decides, explanation)
        readings = whole[decides](*texts)[np.isin(kept, population.sequence_ids)]
        draws = Draws.all_of(1, len(readings))
        (found,) = correlations(population.truth[None], readings[None], draws) if len(readings) else (None,)
        return -np.inf if found is None or found.value is None else found.value

    return spared(evidence, value)


def nearness(evidence: LayerEvidence, encoders: EncoderSource, progress: Progress) -> Near | None:
    """Return what tells how near kept sequences are to some texts, by the study's first encoder, if any."""
    if not evidence.study.encoders or not any(
        not simulating(evidence.study, name).costs_nothing for name in evidence.study.simulators
    ):
        return None
    encoder = encoders.open(evidence.study.encoders[0], progress=progress)
    return encoded_sequences(evidence, evidence.kept_ids, encoder).nearness
