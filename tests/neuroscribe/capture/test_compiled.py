"""The compiled backbone: the statistics come from inside the graph and equal those of the model as it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch._dynamo.utils as dynamo
import torch._inductor.config as inductor

from neuroscribe.capture import CapturePlan, LayerState, capture
from neuroscribe.errors import SubjectError
from neuroscribe.subject.compiled import CompiledBackbone
from neuroscribe.subject.subject import Subject
from neuroscribe.testing.stores import SilentProgress
from tests.neuroscribe.capture.scenario import BATCH, LENGTH, TOP, corpus, plan, sorted_slots, subject, tiny

# torch's own modules use what torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")

FULL_BATCHES = 3 * 2
"""Of 7 sequences in three blocks of 20; the rest of each block and the last sequence run as the model is."""


def captured(own: Subject, layers: list[int], kept: CapturePlan) -> dict[int, LayerState]:
    return capture(own, corpus(), plan=kept, layers=layers, progress=SilentProgress())


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_statistics_from_inside_the_graph_are_those_of_the_model_as_it_is(model_type: str) -> None:
    own = subject(tiny(model_type), prefix_ids=(1,))
    graph = CompiledBackbone(own.model)
    plain, found = (captured(one, [0, 1], plan()) for one in (own, replace(own, compiled=graph)))
    assert graph.calls.tolist() == [FULL_BATCHES, FULL_BATCHES]
    for layer, state in plain.items():
        assert state.sequences == found[layer].sequences
        torch.testing.assert_close(found[layer].extremes, state.extremes, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[layer].totals(), state.totals(), rtol=1e-4, atol=1e-5)
        for side in (0, 1):
            values, expected = (sorted_slots(one, side, slice(0, TOP))[0] for one in (found[layer], state))
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_one_graph_serves_batches_of_one_shape_and_stops_after_the_last_layer_that_is_read() -> None:
    own = subject(tiny())
    graph = CompiledBackbone(own.model)
    before = dynamo.counters["stats"]["unique_graphs"]
    for _ in range(3):
        states = captured(replace(own, compiled=graph), [0], plan())
    assert list(states) == [0]
    assert dynamo.counters["stats"]["unique_graphs"] == before + 1
    assert graph.calls.tolist() == [3 * FULL_BATCHES, 0]


def test_without_a_compiler_the_subject_is_refused_before_the_pass() -> None:
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(SubjectError, match="none was found"),
    ):
        CompiledBackbone(tiny())


@pytest.mark.slow
def test_an_error_inside_the_graph_reaches_the_caller() -> None:
    graph = CompiledBackbone(tiny())

    def broken(layer: int, activations: torch.Tensor) -> None:
        raise ValueError(f"layer {layer} of shape {tuple(activations.shape)}")

    with pytest.raises(ValueError, match=rf"layer 0 of shape \({BATCH}, {LENGTH}, 24\)"):
        graph.run(corpus()[:BATCH], broken)
    assert graph.calls.tolist() == [1, 0]
