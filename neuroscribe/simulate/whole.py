"""The simulators that cost nothing on all kept sequences, and sequences near a label."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.simulate.encoded import encoded_sequences
from neuroscribe.simulate.questions import Near, simulating

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


def nearness(evidence: LayerEvidence, encoders: EncoderSource, progress: Progress) -> Near | None:
    """Return what tells how near kept sequences are to some texts, by the study's first encoder, if any."""
    if not evidence.study.encoders or not any(
        not simulating(evidence.study, name).costs_nothing for name in evidence.study.simulators
    ):
        return None
    encoder = encoders.open(evidence.study.encoders[0], progress=progress)
    return encoded_sequences(evidence, evidence.kept_ids, encoder).nearness
