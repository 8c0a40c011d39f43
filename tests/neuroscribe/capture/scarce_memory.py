"""A program for `test_memory.py`: captures under limits of memory, and prints what came of each."""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from neuroscribe.capture import CapturePlan, LayerState, capture
from neuroscribe.errors import CaptureError
from neuroscribe.testing.random_subjects import VOCABULARY, random_subject
from neuroscribe.testing.stores import SilentProgress
from tests.neuroscribe.capture.scenario import subject

SEQUENCES, LENGTH, BATCH, NEURONS = 600, 8, 600, 4096
PLAN = CapturePlan(2, (1,), (2, 30), block=SEQUENCES)


def captured(model: Any) -> tuple[LayerState, list[str]]:
    tokens = torch.randint(2, VOCABULARY, (SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(7))
    progress, own = SilentProgress(), subject(model, batch=BATCH)
    states = capture(own, tokens, plan=PLAN, layers=[0], progress=progress)
    return states[0], [note for note in progress.notes if note]


def main(headrooms: list[int]) -> None:
    """Print per headroom, in MB beyond what the process has, its notes and whether the result is right."""
    torch.set_num_threads(1)
    model = random_subject("gpt2", seed=3, n_inner=NEURONS)
    ample, notes = captured(model)
    assert not notes
    pages = resource.getpagesize()
    for headroom in headrooms:
        with Path("/proc/self/statm").open(encoding="ascii") as statm:
            size = int(statm.read().split()[0]) * pages
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size + headroom * 2**20, hard))
        try:
            state, notes = captured(model)
            right = [
                state.sequences == SEQUENCES,
                torch.equal(state.histogram.sum(1), ample.histogram.sum(1)),
                torch.allclose(state.top_value, ample.top_value, atol=1e-5),
                torch.allclose(state.random_vector, ample.random_vector, atol=1e-5),
            ]
        except CaptureError as error:
            right, notes = [], [str(error)]
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        sys.stdout.write(json.dumps({"headroom": headroom, "notes": notes, "right": right}) + "\n")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
