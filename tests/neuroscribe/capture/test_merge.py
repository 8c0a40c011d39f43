"""Shards: cut and merged in any way, they give the state of one undivided pass, bit for bit."""

import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscribe.capture import (
    CapturePlan,
    Checkpoints,
    LayerState,
    Pool,
    capture,
    capture_shard,
    kernel,
    merged,
)
from neuroscribe.capture.run import shard_range
from neuroscribe.capture.state import empty_state
from neuroscribe.capture.statistics import layer_statistics
from neuroscribe.errors import CaptureError, StudyError
from neuroscribe.testing.stores import MemoryTensors, SilentProgress
from tests.neuroscribe.capture.scenario import BLOCK, SEQUENCES, corpus, everything, plan, subject, tiny

KEPT = CapturePlan(3, (1, -1), (2, 9, 21), (Pool((0, 4, 5, 11, 16, 22), 2),), block=4)
COUNT, TOKENS, NEURONS = 24, 4, 5


def values(seed: int, steps: int) -> torch.Tensor:
    """Activations in few steps, so that peaks are often equal, and of sizes from 1e-9 to 1e6."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(COUNT, TOKENS, NEURONS, generator=generator)
    return (own * steps).round() / steps * 10.0 ** torch.randint(-9, 6, (NEURONS,), generator=generator)


def state_of(own: torch.Tensor, first: int, stop: int) -> LayerState:
    """The state after the sequences from `first` to before `stop`, block by block."""
    state = empty_state(KEPT, neurons=NEURONS, tokens=TOKENS, pivot=own[0, 0].bfloat16().float())
    for start in range(first, stop, KEPT.block):
        end = min(start + KEPT.block, stop)
        kernel.take(state, own[start:end].contiguous(), range(start, end), KEPT)
        state.fold()
    for slot, sequence in enumerate(KEPT.random_ids):
        if first <= sequence < stop:
            state.random_vector[slot] = own[sequence]
    return state


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**16),
    st.sampled_from([1, 3, 1000]),
    st.sets(st.sampled_from([4, 8, 12, 16, 20])),
    st.randoms(use_true_random=False),
)
def test_shards_in_any_order_and_grouping_give_the_same_bits(
    seed: int, steps: int, cuts: set[int], order: random.Random
) -> None:
    own = values(seed, steps)
    bounds = [0, *sorted(cuts), COUNT]
    parts = [state_of(own, first, stop) for first, stop in pairwise(bounds)]
    while len(parts) > 1:
        one = parts.pop(order.randrange(len(parts)))
        other = parts.pop(order.randrange(len(parts)))
        parts.append(merged([one, other], KEPT))
    assert everything(parts[0], KEPT) == everything(state_of(own, 0, COUNT), KEPT)


def test_a_sequence_in_two_states_is_refused() -> None:
    own = values(1, 3)
    with pytest.raises(CaptureError, match="sequences 8 to 11 are in two of the states"):
        merged([state_of(own, 0, 12), state_of(own, 8, 24)], KEPT)


def test_sums_about_other_pivots_are_moved_and_give_the_same_moments() -> None:
    own = values(1, 1000)
    whole = state_of(own, 0, 24)
    elsewhere = own.clone()
    elsewhere[0, 0, 3] *= 1.5  # what another machine takes for the first activation of neuron 3
    moved = state_of(elsewhere, 12, 24)
    assert (moved.pivot != whole.pivot).tolist() == [False, False, False, True, False]
    for parts in ([state_of(own, 0, 12), moved], [moved, state_of(own, 0, 12)]):
        tables = [
            layer_statistics(state, 0, polarities=(1, -1), top_k=3) for state in (merged(parts, KEPT), whole)
        ]
        for name in ("mean", "variance", "skewness", "kurtosis"):
            found, wanted = (table[name].to_numpy() for table in tables)
            np.testing.assert_allclose(found, wanted, rtol=1e-11)
            assert np.array_equal(np.delete(found, 3), np.delete(wanted, 3))


def test_states_of_other_widths_are_refused() -> None:
    one, other = state_of(values(1, 3), 0, 12), state_of(values(1, 3), 12, 24)
    other.positive = other.positive[:2]
    with pytest.raises(CaptureError, match=r"positive is \(5,\) torch.int64 in one and \(2,\)"):
        merged([one, other], KEPT)


def test_shards_are_whole_blocks_shared_out_evenly() -> None:
    assert [shard_range(2560, shard, 2, 1024) for shard in (0, 1)] == [range(1024), range(1024, 2560)]
    assert [len(shard_range(100, shard, 10, 10)) for shard in range(10)] == [10] * 10
    with pytest.raises(
        StudyError, match="2560 sequences are 3 blocks of 1024, so there can be 1 to 3 shards"
    ):
        shard_range(2560, 0, 4, 1024)


@pytest.mark.parametrize("shards", [1, 2, 3, 4])
def test_a_capture_in_shards_equals_an_undivided_one(shards: int) -> None:
    own, tokens = subject(tiny("llama")), corpus()
    whole = capture(own, tokens, plan=plan(), layers=[0, 1], progress=SilentProgress())
    parts = capture(own, tokens, plan=plan(), layers=[0, 1], progress=SilentProgress(), shards=shards)
    for layer, state in parts.items():
        assert everything(state, plan()) == everything(whole[layer], plan())


def test_a_shard_captured_before_is_not_captured_again() -> None:
    store, progress = MemoryTensors(), SilentProgress()
    files = Checkpoints(store, "s", "a", corpus="c")
    capture_shard(
        subject(tiny()),
        corpus(),
        plan=plan(),
        layers=[0, 1],
        progress=progress,
        checkpoints=files,
        shard=1,
        shards=2,
    )
    assert sorted(store.files) == [f"s/layer_0{layer}.shard_1_of_2.safetensors" for layer in (0, 1)]
    assert progress.done == {"capture tiny": SEQUENCES - 2 * BLOCK}
    rest = SilentProgress()
    states = capture(
        subject(tiny()), corpus(), plan=plan(), layers=[0, 1], progress=rest, checkpoints=files, shards=2
    )
    assert rest.done == {"capture tiny": 2 * BLOCK}
    assert sorted(store.files) == [f"s/layer_0{layer}.safetensors" for layer in (0, 1)]
    whole = capture(subject(tiny()), corpus(), plan=plan(), layers=[0, 1], progress=SilentProgress())
    for layer, state in states.items():
        assert everything(state, plan()) == everything(whole[layer], plan())


def test_a_kill_while_shards_are_merged_costs_nothing_and_leaves_nothing_behind() -> None:
    store, model = MemoryTensors(), subject(tiny())
    files = Checkpoints(store, "s", "a", corpus="c")
    for shard, shards in ((0, 2), (1, 2), (2, 3)):
        capture_shard(
            model, corpus(), plan=plan(), layers=[0, 1], progress=SilentProgress(), checkpoints=files,
            shard=shard, shards=shards,
        )  # fmt: skip
    # As if a merge had been killed after it had written the first layer.
    whole = capture(model, corpus(), plan=plan(), layers=[0, 1], progress=SilentProgress())
    files.finish({0: whole[0]})
    progress = SilentProgress()
    states = capture(
        model, corpus(), plan=plan(), layers=[0, 1], progress=progress, checkpoints=files, shards=2
    )
    assert not progress.done
    assert sorted(store.files) == [f"s/layer_0{layer}.safetensors" for layer in (0, 1)]
    for layer, state in states.items():
        assert everything(state, plan()) == everything(whole[layer], plan())


def shard_of(files: Checkpoints, shard: int, shards: int) -> None:
    capture_shard(
        subject(tiny()), corpus(), plan=plan(), layers=[0, 1], progress=SilentProgress(), checkpoints=files,
        shard=shard, shards=shards,
    )  # fmt: skip


def test_of_several_numbers_of_shards_that_with_most_sequences_counts() -> None:
    files = Checkpoints(MemoryTensors(), "s", "a")
    assert files.shards([0, 1]) == {1: [0, 1]}
    shard_of(files, 0, 3)
    assert files.shards([0, 1]) == {3: [0, 1]}
    shard_of(files, 1, 2)
    shard_of(files, 0, 2)
    assert files.shards([0, 1]) == {2: [0, 1]}
    assert Checkpoints(files.store, "s", "b").shards([0, 1]) == {1: [0, 1]}


def test_shards_of_another_device_or_text_are_left_alone() -> None:
    store = MemoryTensors()
    shard_of(Checkpoints(store, "s", "elsewhere"), 1, 2)
    theirs = dict(store.files)
    for _ in range(2):
        capture(
            subject(tiny()), corpus(), plan=plan(), layers=[0, 1], progress=SilentProgress(),
            checkpoints=Checkpoints(store, "s", "a"),
        )  # fmt: skip
    assert theirs.items() <= store.files.items()
    assert len(store.files) == len(theirs) + 2


ONE_SHARD = """
import sys
from neuroscribe.capture import Checkpoints, capture_shard
from neuroscribe.testing.stores import SilentProgress
from resources.store.tensors import SafetensorFiles
from tests.neuroscribe.capture.scenario import corpus, plan, subject, tiny

capture_shard(
    subject(tiny()), corpus(), plan=plan(), layers=[0, 1], progress=SilentProgress(),
    checkpoints=Checkpoints(SafetensorFiles(sys.argv[1]), "s", "a"), shard=int(sys.argv[2]), shards=2,
)
"""


def test_two_shards_on_two_processes_equal_one(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_SHARD, str(tmp_path), str(shard)], env=environment, cwd=root
        )
        for shard in (0, 1)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    from resources.store.tensors import SafetensorFiles

    progress = SilentProgress()
    states = capture(
        subject(tiny()),
        corpus(),
        plan=plan(),
        layers=[0, 1],
        progress=progress,
        checkpoints=Checkpoints(SafetensorFiles(str(tmp_path)), "s", "a"),
        shards=2,
    )
    assert not progress.done
    whole = capture(subject(tiny()), corpus(), plan=plan(), layers=[0, 1], progress=SilentProgress())
    for layer, state in states.items():
        assert everything(state, plan()) == everything(whole[layer], plan())
