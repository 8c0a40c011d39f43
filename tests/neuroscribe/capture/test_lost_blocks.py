"""Whole activations that are gone come back when activations are materialised again."""

import polars as pl
import pytest
import torch

from neuroscribe.capture.stage import captured, captured_shard, whole_capture
from neuroscribe.capture.whole.blocks import block_path
from neuroscribe.capture.whole.reading import is_whole, neuron_activations
from neuroscribe.errors import StoreError
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study
from neuroscribe.subject.subject import Subject
from neuroscribe.testing.planted import planted_corpus, planted_subject, planted_tokenizer
from neuroscribe.testing.planted_study import write_planted_study
from neuroscribe.testing.stores import Interrupted, MemoryTensors, SilentProgress
from neuroscribe.text.corpus import tokenised
from neuroscribe.text.documents import Document
from neuroscribe.text.token_bytes import tokenizer_facts

SEQUENCES = 1200
"""Ten blocks of whole activations, and two of a capture, so up to two shards."""
MISSING = "layer 1: whole activations are missing; it is captured anew"
Run = tuple[Study, Subject, pl.DataFrame]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("planted")
    path = write_planted_study(folder, base_url="http://x/v1", sequences=SEQUENCES, documents=1)
    path.write_text(path.read_text() + '\n[capture]\nwhole = "bf16"\n')
    study, facts = read_study(path), tokenizer_facts(planted_tokenizer())
    documents = [Document(str(n), text) for n, text in enumerate(planted_corpus(350, seed=1))]
    subject = Subject(
        model=planted_subject().eval(),
        tokenizer=facts,
        name="planted",
        revision="r",
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    return study, subject, tokenised(documents, facts, study.corpus).sequences


def capture(
    run: Run, store: MemoryTensors, progress: SilentProgress | None = None
) -> tuple[bool, tuple[int, ...]]:
    progress = progress or SilentProgress()
    done = captured(*run, layers=[0, 1], store=store, progress=progress)
    return done.before == (0, 1), done.anew


def shard(run: Run, store: MemoryTensors, number: int, progress: SilentProgress | None = None) -> None:
    progress = progress or SilentProgress()
    captured_shard(*run, shard=number, shards=2, layers=None, store=store, progress=progress)


def contents(store: MemoryTensors) -> dict[str, bytes]:
    return {
        path: b"".join(tensors[name].view(torch.uint8).numpy().tobytes() for name in sorted(tensors))
        for path, (tensors, _) in store.files.items()
    }


def blocks(store: MemoryTensors, layer: int) -> list[str]:
    return sorted(path for path in store.files if f"/layer_{layer:02d}/block_" in path)


@pytest.fixture(scope="module")
def calm(run: Run) -> MemoryTensors:
    store = MemoryTensors()
    assert capture(run, store) == (False, ())
    return store


@pytest.fixture
def store(calm: MemoryTensors) -> MemoryTensors:
    own = MemoryTensors()
    own.files = dict(calm.files)
    return own


def test_what_is_finished_with_all_its_blocks_is_used(run: Run, store: MemoryTensors) -> None:
    assert len(run[2]) == SEQUENCES
    assert len(blocks(store, 0)) == len(blocks(store, 1)) == 10
    progress = SilentProgress()
    assert capture(run, store, progress) == (True, ())
    assert not store.written
    assert (progress.done, progress.notes) == ({"look for whole activations": 2}, ["", ""])


@pytest.mark.parametrize("lost", [0, 5, 9])
def test_a_finished_layer_that_lacks_a_block_is_captured_anew_and_the_others_are_not(
    run: Run, store: MemoryTensors, calm: MemoryTensors, lost: int
) -> None:
    folder, fingerprint = whole_capture(run[0].name, 1, store)
    store.remove(block_path(folder, 1, lost))
    assert not is_whole(store, folder, [1], SEQUENCES, fingerprint)
    progress = SilentProgress()
    assert capture(run, store, progress) == (False, (1,))
    assert MISSING in progress.notes
    assert contents(store) == contents(calm)
    assert not any("layer_00" in path for path in store.written)
    assert capture(run, store) == (True, ())


def test_the_remedy_that_a_reader_names_for_a_missing_block_is_one(run: Run, store: MemoryTensors) -> None:
    folder, fingerprint = whole_capture(run[0].name, 1, store)
    store.remove(block_path(folder, 1, 1))
    with pytest.raises(StoreError, match=r"block_000001\S* is missing, .* materialise activations again"):
        neuron_activations(store, folder, 1, 0, fingerprint=fingerprint)
    capture(run, store)
    assert len(neuron_activations(store, folder, 1, 0, fingerprint=fingerprint)) == SEQUENCES


def test_a_block_of_another_layer_or_one_too_many_is_as_good_as_missing(
    run: Run, store: MemoryTensors, calm: MemoryTensors
) -> None:
    folder, _ = whole_capture(run[0].name, 1, store)
    store.files[block_path(folder, 1, 3)] = store.files[block_path(folder, 0, 3)]
    store.files[block_path(folder, 0, 30)] = store.files[block_path(folder, 0, 3)]
    assert capture(run, store) == (False, (0, 1))
    assert contents(store) == contents(calm)


def test_a_killed_capture_that_lost_its_blocks_begins_again(run: Run, calm: MemoryTensors) -> None:
    store = MemoryTensors()
    with pytest.raises(Interrupted):
        capture(run, store, SilentProgress(fail_at=8, rings=1))
    assert any("open" in path for path in store.files)
    for path in blocks(store, 1):
        store.remove(path)
    progress = SilentProgress()
    assert capture(run, store, progress) == (False, (1,))
    assert MISSING in progress.notes
    assert contents(store) == contents(calm)


def test_a_killed_capture_that_has_its_blocks_goes_on(run: Run, calm: MemoryTensors) -> None:
    store = MemoryTensors()
    with pytest.raises(Interrupted):
        capture(run, store, SilentProgress(fail_at=8, rings=1))
    assert 0 < len(blocks(store, 1)) < 10
    assert capture(run, store) == (False, ())
    assert blocks(store, 1)[0] not in store.written[store.written.index(blocks(store, 1)[0]) + 1 :]
    assert contents(store) == contents(calm)


@pytest.mark.parametrize("again", ["shard", "capture"])
def test_a_shard_that_lost_a_block_is_captured_anew_and_the_other_is_not(
    run: Run, calm: MemoryTensors, again: str
) -> None:
    store = MemoryTensors()
    shard(run, store, 1)
    shard(run, store, 0)
    store.remove(blocks(store, 1)[9])
    shard(run, store, 0)  # is nothing to the other one
    store.written.clear()
    if again == "shard":
        progress = SilentProgress()
        shard(run, store, 1, progress)
        assert MISSING in progress.notes
        assert sorted(store.written) == [*shards_of(store, 1)[1:], *blocks(store, 1)[8:]]
    assert capture(run, store) == (False, (1,) if again == "capture" else ())
    assert not set(store.written).intersection([*blocks(store, 0), *blocks(store, 1)[:8]])
    # The slots of merged states have another order.
    for path in [*blocks(calm, 0), *blocks(calm, 1)]:
        assert contents(store)[path] == contents(calm)[path]


def shards_of(store: MemoryTensors, layer: int) -> list[str]:
    return sorted(path for path in store.files if f"layer_{layer:02d}.shard" in path)
