"""How far batch size and dtype change what a capture finds: they change the last bits of the forward pass.

The model is the default study's subject, real weights on real text, so this needs a store in which the
study's corpus has been materialised, and is no part of `make bench`: `python -m benchmarks.numerics STORE`.
"""

import sys
from dataclasses import replace

import numpy as np
import torch

from benchmarks.capture import TOP_K
from dagster_project.environments import ROOT
from neuroscribe.capture import CapturePlan, LayerState, capture
from neuroscribe.kinds import read_study
from neuroscribe.subject.subject import Subject
from neuroscribe.testing.stores import SilentProgress
from neuroscribe.text.corpus import token_matrix
from resources.models.subject import SubjectModels
from resources.store.tables import Tables

SEQUENCES = 1024
BATCHES = {"bfloat16, batches of 31": 2048, "bfloat16, batches of 7": 512}


def main() -> None:
    """Print the share of top exemplars that two captures have in common, by layer."""
    study = read_study(ROOT / "studies" / "embedded.toml")
    tokens = torch.as_tensor(
        token_matrix(Tables(sys.argv[1]).read(study.name, "corpus/sequences"))[:SEQUENCES]
    )
    models = SubjectModels(device="cpu", cache_dir=str(ROOT / ".cache/neuroscribe"), hub=False)
    subject = models.open(study.subject)
    plan = CapturePlan(TOP_K, (1, -1), ())
    layers = range(study.subject.layers)

    def captured(subject: Subject) -> dict[int, LayerState]:
        return capture(subject, tokens, plan=plan, layers=layers, progress=SilentProgress())

    states = {name: captured(replace(subject, batch_tokens=batch)) for name, batch in BATCHES.items()}
    subject.model.float()
    states["float32"] = captured(replace(subject, dtype=torch.float32, batch_tokens=1024))
    reference = "bfloat16, batches of 31"
    for name in [name for name in states if name != reference]:
        shares = [_in_common(state, states[name][layer]) for layer, state in states[reference].items()]
        print(f"{reference} and {name}: top {TOP_K} in common, by layer:", end=" ")
        print(", ".join(f"{share:.3f}" for share in shares), f"mean {np.mean(shares):.3f}")


def _in_common(one: LayerState, other: LayerState) -> float:
    """Return the share of a layer's top exemplars that both keep."""
    ours, theirs = one.top_sequence.numpy(), other.top_sequence.numpy()
    return float((ours[..., :, None] == theirs[..., None, :]).any(-1).mean())


if __name__ == "__main__":
    main()
