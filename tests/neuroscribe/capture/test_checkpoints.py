from collections.abc import Callable

import pytest
import torch

from neuroscribe.capture import Checkpoints, LayerState, capture
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.testing.stores import Interrupted, MemoryTensors, SilentProgress
from tests.neuroscribe.capture.scenario import SEQUENCES, corpus, everything, plan, subject, tiny

RINGS = 3
BATCHES = 3 * 3 + 1  # blocks of 20 are 7 + 7 + 6, and one sequence is left for the last block
BETWEEN = 20
"""Sequences between checkpoints, which come at every third batch."""


class Counting:
    """A subject's model that counts the sequences it is given, the check's one among them."""

    def __init__(self) -> None:
        self.model = tiny()
        self.read = 0
        self.model.transformer.wte.register_forward_pre_hook(self._count)

    def _count(self, _module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        self.read += len(inputs[0])


def run(
    store: MemoryTensors,
    *,
    model: object = None,
    fingerprint: str = "a",
    layers: tuple[int, ...] = (0, 1),
    fail_at: int | None = None,
    shards: int = 1,
    whole: WholeActivations | None = None,
) -> dict[int, LayerState]:
    return capture(
        subject(model or tiny()),
        corpus(),
        plan=plan(),
        layers=layers,
        progress=SilentProgress(fail_at=fail_at, rings=RINGS),
        checkpoints=Checkpoints(store, "s", fingerprint, corpus="c"),
        shards=shards,
        whole=whole,
    )


def stored(store: MemoryTensors) -> dict[str, tuple[dict[str, bytes], dict[str, str]]]:
    """Every byte in a store."""
    return {
        path: (
            {name: tensor.view(torch.uint8).numpy().tobytes() for name, tensor in tensors.items()},
            metadata,
        )
        for path, (tensors, metadata) in store.files.items()
    }


@pytest.fixture(scope="module")
def undisturbed() -> MemoryTensors:
    store = MemoryTensors()
    run(store)
    return store


def test_the_scenario_has_these_batches(undisturbed: MemoryTensors) -> None:
    assert len(undisturbed.files) == 2
    with pytest.raises(Interrupted):
        run(MemoryTensors(), fail_at=1 + BATCHES)
    run(MemoryTensors(), fail_at=2 + BATCHES)


@pytest.mark.parametrize("batch", range(1, BATCHES + 1))
def test_a_run_killed_at_any_batch_resumes_to_the_same_bytes(batch: int, undisturbed: MemoryTensors) -> None:
    store, counting = MemoryTensors(), Counting()
    with pytest.raises(Interrupted):
        run(store, fail_at=1 + batch, model=counting.model)
    run(store, model=counting.model)
    assert stored(store) == stored(undisturbed)
    checks = 2
    assert SEQUENCES <= counting.read - checks <= SEQUENCES + BETWEEN


def test_a_run_killed_three_times_resumes_to_the_same_bytes(undisturbed: MemoryTensors) -> None:
    store = MemoryTensors()
    for _ in range(3):
        with pytest.raises(Interrupted):
            run(store, fail_at=5)
    run(store)
    assert stored(store) == stored(undisturbed)


def test_progress_of_a_resumed_run_starts_where_the_last_checkpoint_is() -> None:
    store, progress = MemoryTensors(), SilentProgress()
    with pytest.raises(Interrupted):
        run(store, fail_at=6)
    points = Checkpoints(store, "s", "a", corpus="c")
    capture(subject(tiny()), corpus(), plan=plan(), layers=[0, 1], progress=progress, checkpoints=points)
    assert progress.done == {"capture tiny": SEQUENCES}
    assert len(progress.notes) == 1 + BATCHES - 3


def under_way(store: MemoryTensors) -> dict[str, str]:
    return {path: metadata["ranges"] for path, (_, metadata) in store.files.items()}


def test_a_checkpoint_replaces_the_one_before_and_is_removed_at_the_end() -> None:
    store = MemoryTensors()
    with pytest.raises(Interrupted):
        run(store, fail_at=9)
    assert under_way(store) == {"s/layer_00.open.safetensors": "0-40", "s/layer_01.open.safetensors": "0-40"}
    assert store.written == ["s/layer_00.open.safetensors", "s/layer_01.open.safetensors"] * 2
    run(store)
    assert sorted(store.files) == ["s/layer_00.safetensors", "s/layer_01.safetensors"]


def test_a_finished_state_is_loaded_and_the_model_not_run(undisturbed: MemoryTensors) -> None:
    counting, written = Counting(), list(undisturbed.written)
    states = run(undisturbed, model=counting.model)
    assert counting.read == 0
    assert undisturbed.written == written
    fresh = run(MemoryTensors())
    for layer, state in fresh.items():
        assert states[layer].sequences == SEQUENCES
        assert everything(states[layer], plan()) == everything(state, plan())


def test_a_layer_that_is_finished_is_not_computed_again_beside_another(undisturbed: MemoryTensors) -> None:
    store = MemoryTensors()
    run(store, layers=(1,))
    assert store.written[-1:] == ["s/layer_01.safetensors"]
    before = len(store.written)
    assert list(run(store)) == [0, 1]
    assert not any("layer_01" in path for path in store.written[before:])
    assert stored(store) == stored(undisturbed)


def test_a_kill_between_two_layers_files_loses_nothing(undisturbed: MemoryTensors) -> None:
    store = MemoryTensors()
    with pytest.raises(Interrupted):
        run(store, fail_at=1 + BATCHES)
    ahead = undisturbed.files["s/layer_00.safetensors"]
    store.files["s/layer_00.safetensors"] = ahead
    counting = Counting()
    run(store, model=counting.model)
    assert counting.read == 1 + SEQUENCES - 60
    assert stored(store) == stored(undisturbed)


def test_states_of_another_fingerprint_are_ignored(undisturbed: MemoryTensors) -> None:
    store, counting = MemoryTensors(), Counting()
    run(store, fingerprint="another")
    with pytest.raises(Interrupted):
        run(store, fail_at=6, fingerprint="yet another")
    run(store, model=counting.model)
    assert counting.read == 1 + SEQUENCES
    assert stored(store) == stored(undisturbed)


def test_a_finished_layer_is_known_by_its_fingerprint(undisturbed: MemoryTensors) -> None:
    assert Checkpoints(undisturbed, "s", "a").is_finished(0)
    assert not Checkpoints(undisturbed, "s", "b").is_finished(0)
    assert not Checkpoints(undisturbed, "s", "a").is_finished(2)


def test_vectors_of_a_bf16_subject_are_stored_in_bf16_and_come_back_exactly() -> None:
    store = MemoryTensors()
    fresh = run(store, model=tiny(dtype=torch.bfloat16))
    assert store.files["s/layer_00.safetensors"][0]["top_vector"].dtype == torch.bfloat16
    loaded = run(store, model=tiny(dtype=torch.bfloat16))
    assert torch.equal(loaded[0].top_vector, fresh[0].top_vector)
    assert torch.equal(loaded[1].random_vector, fresh[1].random_vector)


def test_a_killed_bf16_run_resumes_to_the_same_bytes() -> None:
    undisturbed, killed = MemoryTensors(), MemoryTensors()
    run(undisturbed, model=tiny(dtype=torch.bfloat16))
    with pytest.raises(Interrupted):
        run(killed, model=tiny(dtype=torch.bfloat16), fail_at=6)
    run(killed, model=tiny(dtype=torch.bfloat16))
    assert stored(killed) == stored(undisturbed)


def test_a_kill_between_two_layers_files_of_a_checkpoint_costs_neither_what_it_has(
    undisturbed: MemoryTensors,
) -> None:
    store, counting = MemoryTensors(), Counting()
    with pytest.raises(Interrupted):
        run(store, fail_at=9)
    # As if the process had died after the first layer's file of the checkpoint at 60.
    ahead = MemoryTensors()
    with pytest.raises(Interrupted):
        run(ahead, fail_at=11)
    store.files["s/layer_00.open.safetensors"] = ahead.files["s/layer_00.open.safetensors"]
    run(store, model=counting.model)
    assert counting.read == 1 + SEQUENCES - 40
    assert stored(store) == stored(undisturbed)


class Reduced:
    """Counts the sequences that each layer's MLP reads in the passes of a subject, the checks aside."""

    def __init__(self) -> None:
        self.model, self.read = tiny(), {0: 0, 1: 0}
        for layer, block in enumerate(self.model.transformer.h):
            block.mlp.c_proj.register_forward_pre_hook(self._count(layer))

    def _count(self, layer: int) -> Callable[..., None]:
        def count(_module: object, inputs: tuple[torch.Tensor, ...]) -> None:
            self.read[layer] += len(inputs[0]) if len(inputs[0]) > 1 else 0

        return count


def killed(layers: tuple[int, ...], fail_at: int, store: MemoryTensors | None = None) -> MemoryTensors:
    store = store or MemoryTensors()
    with pytest.raises(Interrupted):
        run(store, layers=layers, fail_at=fail_at)
    return store


@pytest.mark.parametrize("layers", [(0,), (1,)])
def test_a_part_of_the_layers_of_a_killed_run_goes_on_and_leaves_the_others_their_work(
    layers: tuple[int, ...], undisturbed: MemoryTensors
) -> None:
    store, first, second = killed((0, 1), 9), Counting(), Counting()
    run(store, layers=layers, model=first.model)
    assert first.read == 1 + SEQUENCES - 40
    assert under_way(store)[f"s/layer_0{1 - layers[0]}.open.safetensors"] == "0-40"
    run(store, model=second.model)
    assert second.read == 1 + SEQUENCES - 40
    assert stored(store) == stored(undisturbed)


def test_more_layers_than_those_of_a_killed_run_do_not_begin_its_layers_again(
    undisturbed: MemoryTensors,
) -> None:
    store = killed((1,), 9)
    kept = store.files["s/layer_01.open.safetensors"]
    killed((0, 1), 6, store)
    assert under_way(store) == {"s/layer_00.open.safetensors": "0-20", "s/layer_01.open.safetensors": "0-40"}
    assert store.files["s/layer_01.open.safetensors"] is kept
    model = Reduced()
    run(store, model=model.model)
    assert stored(store) == stored(undisturbed)
    # The last sequence comes alone, as the check does. Until layer 0 is at 40, nothing runs beyond it.
    assert model.read == {0: 60 - 20, 1: 60 - 40}


def test_overlapping_runs_that_are_killed_in_turn_end_in_the_same_bytes(undisturbed: MemoryTensors) -> None:
    store = killed((0, 1), 6)
    killed((0,), 6, store)
    killed((1,), 3, store)
    assert under_way(store) == {"s/layer_00.open.safetensors": "0-40", "s/layer_01.open.safetensors": "0-20"}
    killed((1, 0), 6, store)
    run(store, layers=(1,))
    run(store)
    assert stored(store) == stored(undisturbed)


def test_layers_that_were_cut_into_different_shards_keep_what_they_have() -> None:
    store = MemoryTensors()
    killed((1,), 9, store)
    with pytest.raises(Interrupted):
        run(store, layers=(0,), fail_at=7, shards=2)
    files = Checkpoints(store, "s", "a")
    assert files.shards([0, 1]) == {2: [0], 1: [1]}
    assert files.shards([1, 2]) == {1: [1, 2]}
    assert files.shards([0, 2, 3]) == {2: [0, 2, 3]}
    run(store, layers=(0,), shards=2)
    assert files.shards([0, 1]) == {1: [0, 1]}
    assert Checkpoints(MemoryTensors(), "s", "a").shards([2, 0]) == {1: [0, 2]}


def whole(store: MemoryTensors) -> WholeActivations:
    return WholeActivations(store, "w", "bf16", "a", block=10)


def test_with_whole_activations_checkpoints_come_between_blocks_and_any_selection_goes_on_from_them() -> None:
    calm, store = MemoryTensors(), MemoryTensors()
    run(calm, whole=whole(calm))
    for layers, advances in (((1,), 8), ((0, 1), 9), ((0,), 5)):
        with pytest.raises(Interrupted):
            run(store, layers=layers, fail_at=advances, whole=whole(store))
        ranges = [metadata["ranges"] for path, (_, metadata) in store.files.items() if "open" in path]
        assert all(int(one.partition("-")[2]) % 10 == 0 for one in ranges)
        assert ranges
    run(store, whole=whole(store))
    assert stored(store) == stored(calm)
