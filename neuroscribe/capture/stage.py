"""The capture of a study: all selected layers in one pass, kept as files that later stages read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from neuroscribe.capture.checkpoints import AGAIN, Checkpoints, dropped_without_blocks, restored_state
from neuroscribe.capture.fit import check_size
from neuroscribe.capture.neuron_records import ExemplarPlan, neuron_records
from neuroscribe.capture.plan import capture_plan
from neuroscribe.capture.run import capture, capture_shard
from neuroscribe.capture.state import LayerState
from neuroscribe.capture.statistics import layer_statistics
from neuroscribe.capture.whole.writing import WholeActivations
from neuroscribe.errors import StoreError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.stores import Progress, TensorStore
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import stage_version
from neuroscribe.subject.subject import Subject
from neuroscribe.text.corpus import token_matrix


@dataclass(frozen=True)
class Captured:
    """What a capture yields beside the files."""

    statistics: dict[int, pl.DataFrame]
    """STATISTICS per layer."""
    before: tuple[int, ...]
    """Layers whose finished states of the same capture were there already."""
    anew: tuple[int, ...] = ()
    """Layers captured from the beginning, or some of their shards, since whole activations of what had been
    captured were missing."""
    in_pass: int = 0
    """Layers that went through the corpus together; 0 where nothing was left to capture."""


def captured(
    study: Study,
    subject: Subject,
    sequences: pl.DataFrame,
    *,
    layers: Sequence[int],
    store: TensorStore,
    progress: Progress,
    beside: Sequence[int] = (),
) -> Captured:
    """Run the corpus through the subject once for all `layers` and return their statistics.

    Where that is a pass at all, layers `beside` go with them: runs after this one find them finished.

    States are written to the store at checkpoints and at the end; what an interrupted or earlier run of the
    same capture has written is used, not computed again, whichever layers that run had selected. Where the
    study stores whole activations, that holds only for layers of which none is missing.
    """
    check_size(study, subject)
    tokens = torch.as_tensor(token_matrix(sequences))
    plan = capture_plan(study)
    files = _files(study, subject, sequences, store)
    whole = _whole(study, files)
    anew = dropped_without_blocks(files, layers, whole, sequences=len(sequences), progress=progress)
    before = tuple(layer for layer in layers if files.is_finished(layer))
    further = {*beside} - {*layers} if len(before) < len(layers) else set[int]()
    together = sorted({*layers} | {layer for layer in further if not files.is_finished(layer)})
    states: dict[int, LayerState] = {}
    # Layers that runs before have cut differently go in passes of their own, so that no work is thrown away.
    for shards, alike in files.shards(together).items():
        states |= capture(
            subject,
            tokens,
            plan=plan,
            layers=alike,
            progress=progress,
            checkpoints=files,
            shards=shards,
            whole=whole,
        )
    statistics = {
        layer: layer_statistics(states[layer], layer, polarities=study.polarities, top_k=study.capture.top_k)
        for layer in sorted(layers)
    }
    return Captured(statistics, before, anew, len(together) - len(before))


def captured_shard(
    study: Study,
    subject: Subject,
    sequences: pl.DataFrame,
    *,
    shard: int,
    shards: int,
    layers: Sequence[int] | None,
    store: TensorStore,
    progress: Progress,
) -> None:
    """Run one shard (from 0) of the corpus through the subject and leave the states in the store.

    `layers` are all with neurons, unless given. `captured` takes the shards that are there and captures the
    rest.
    """
    check_size(study, subject)
    tokens = torch.as_tensor(token_matrix(sequences))
    layers = sorted(subject.sites()) if layers is None else layers
    files = _files(study, subject, sequences, store)
    whole = _whole(study, files)
    of_shard = files.of(shard, shards)
    dropped_without_blocks(of_shard, layers, whole, sequences=len(sequences), progress=progress)
    capture_shard(
        subject,
        tokens,
        plan=capture_plan(study),
        layers=layers,
        progress=progress,
        checkpoints=files,
        shard=shard,
        shards=shards,
        whole=whole,
    )


def layer_records(study: Study, layer: int, sequences: pl.DataFrame, store: TensorStore) -> pl.DataFrame:
    """Return the NEURON_RECORDS of a captured layer."""
    plan = ExemplarPlan(capture_plan(study), study.capture.random_exemplars, study.capture.quantile_exemplars)
    documents = sequences["document_id"].to_numpy().astype(np.int64)
    return neuron_records(_state(study, layer, sequences, store), layer, plan, documents)


def corpus_hash(sequences: pl.DataFrame) -> str:
    """Return the SHA-256 of the token ids of all sequences in order."""
    return hashlib.sha256(token_matrix(sequences).tobytes()).hexdigest()


def whole_capture(study: str, layer: int, store: TensorStore) -> tuple[str, str]:
    """Return the folder and the fingerprint of the whole activations that belong to a layer's tables.

    `study` is its name; both are what `neuroscribe.capture.whole` asks for. Raises StoreError for a layer
    that has not been captured.
    """
    path = _captured_path(study, layer, store)
    identity = store.metadata(path).get("fingerprint", "")
    if not identity:
        raise StoreError(f"{path}: does not say of which capture it is; {AGAIN}")
    return _whole_folder(study, identity), identity


def _captured_path(study: str, layer: int, store: TensorStore) -> str:
    """Return the file of a layer's finished state; raises StoreError where there is none."""
    path = Checkpoints(store, _folder(study), "").path(layer)
    if not store.exists(path):
        raise StoreError(f"{path}: layer {layer} has not been captured; materialise {study}/activations")
    return path


def _state(study: Study, layer: int, sequences: pl.DataFrame, store: TensorStore) -> LayerState:
    """Return a captured layer's state; raises StoreError if there is none or it is of another corpus."""
    path = _captured_path(study.name, layer, store)
    tensors, metadata = store.read(path)
    if metadata.get("corpus") != _inputs(study, sequences):
        raise StoreError(
            f"{path}: layer {layer} was captured from another corpus or with other settings; materialise"
            f" {study.name}/activations again"
        )
    return restored_state(path, tensors, metadata, layer=layer, sequences=range(len(sequences)))


def _folder(study: str) -> str:
    return f"{study}/activations/tensors"


def _whole_folder(study: str, identity: str) -> str:
    """Return a folder of its own: blocks of another text or subject must never stand between these."""
    return f"{study}/activations/whole/{identity[:12]}"


def _files(study: Study, subject: Subject, sequences: pl.DataFrame, store: TensorStore) -> Checkpoints:
    identity = fingerprint(
        stage_version(study, "activations"),
        corpus_hash(sequences),
        subject.revision,
        str(subject.dtype),
        subject.device.type,
    )
    return Checkpoints(store, _folder(study.name), identity, corpus=_inputs(study, sequences))


def _whole(study: Study, files: Checkpoints) -> WholeActivations | None:
    """Return where all activations go, if the study asks for them."""
    if study.capture.whole == "none":
        return None
    folder = _whole_folder(study.name, files.fingerprint)
    return WholeActivations(files.store, folder, study.capture.whole, files.fingerprint)


def _inputs(study: Study, sequences: pl.DataFrame) -> str:
    """Name the sequences and settings of a capture: what later stages compare before they read its states."""
    return fingerprint(stage_version(study, "activations"), corpus_hash(sequences))
