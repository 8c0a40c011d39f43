"""The second pass: every activation of the sampled neurons, as a model without hooks would give them."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from neuroscribe.capture.sampled import sampled_activations
from neuroscribe.errors import CaptureError
from neuroscribe.study.spec import Study
from neuroscribe.subject.architectures import backbone
from neuroscribe.tables.records import STATISTICS
from neuroscribe.testing.random_subjects import LAYERS, NEURONS
from neuroscribe.testing.rows import filled, sequence_table
from neuroscribe.testing.stores import SilentProgress
from neuroscribe.testing.studies import tiny_study
from tests.neuroscribe.capture.scenario import LENGTH, SEQUENCES, corpus, every_activation, subject, tiny
from tests.neuroscribe.capture.test_faults import scarce

TABLE = sequence_table(corpus().tolist())


def study(**sample: Any) -> Study:
    return tiny_study(
        subject={"layers": LAYERS, "neurons_per_layer": NEURONS},
        corpus={"sequences": SEQUENCES, "sequence_length": LENGTH},
        capture={"polarities": "both"},
        sample={"neurons_per_layer": 3, "polarity": "both"} | sample,
    )


def statistics(dead: bool = False) -> pl.DataFrame:
    facts = {"min": -1.0, "max": 1.0, "dead": dead}
    return filled(STATISTICS, *({"neuron": neuron} | facts for neuron in range(NEURONS)))


def sampled(own: Any, layers: tuple[int, ...] = (0, 1), of: Study | None = None) -> dict[int, pl.DataFrame]:
    tables = {layer: statistics() for layer in layers}
    return sampled_activations(of or study(), own, TABLE, tables, progress=SilentProgress())


def values(table: pl.DataFrame) -> np.ndarray:
    return np.array(table["activations"].to_list()).reshape(3, -1, LENGTH)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prefix_ids", [(), (1,)])
def test_every_activation_of_the_sample_is_kept_once_for_both_sides(
    dtype: torch.dtype, prefix_ids: tuple[int, ...]
) -> None:
    own = subject(tiny("llama", dtype), prefix_ids=prefix_ids)
    truth = every_activation(own, corpus())
    for layer, table in sampled(own).items():
        neurons = table["neuron"].unique().sort().to_list()
        assert len(neurons) == 3
        assert table["neuron"].to_list() == [n for n in neurons for _ in range(SEQUENCES)]
        assert table["sequence_id"].to_list() == list(range(SEQUENCES)) * 3
        assert np.array_equal(values(table), truth[layer][:, :, neurons].transpose(2, 0, 1))
    assert sampled(own)[0]["neuron"].unique().to_list() != sampled(own)[1]["neuron"].unique().to_list()


def test_several_layers_take_one_pass_up_to_the_deepest() -> None:
    own = subject(tiny("llama"), batch=SEQUENCES)
    ran: list[int] = []
    for layer, block in enumerate(backbone(own.model).layers):
        block.register_forward_pre_hook(lambda *_, layer=layer: ran.append(layer))
    sampled(own, (0, 1))
    assert ran == [0, 1]
    ran.clear()
    sampled(own, (0,))
    assert ran == [0]


def test_fewer_sequences_are_those_of_the_draw() -> None:
    own = subject(tiny("llama"))
    every, few = sampled(own)[1], sampled(own, of=study(sequences=10))[1]
    assert len(few) == 30
    same = every.join(few, on=["neuron", "sequence_id"], how="semi", maintain_order="left")
    np.testing.assert_allclose(values(few), values(same), rtol=1e-4, atol=1e-6)


def test_a_layer_without_a_neuron_to_explain_is_not_run() -> None:
    own = subject(tiny("llama"))
    tables = {0: statistics(), 1: statistics(dead=True)}
    found = sampled_activations(study(), own, TABLE, tables, progress=SilentProgress())
    assert found[1].is_empty()
    assert found[0].equals(sampled(own)[0])
    progress = SilentProgress()
    sampled_activations(study(), own, TABLE, {1: statistics(dead=True)}, progress=progress)
    assert progress.done == {"sampled activations tiny": 0}


def test_a_batch_too_large_for_memory_is_halved_and_nothing_is_lost() -> None:
    (model, batches), progress = scarce(3), SilentProgress()
    tables = {layer: statistics() for layer in (0, 1)}
    found = sampled_activations(study(), subject(model), TABLE, tables, progress=progress)
    ample = sampled(subject(tiny()))
    for layer in (0, 1):
        np.testing.assert_allclose(values(found[layer]), values(ample[layer]), rtol=1e-4, atol=1e-5)
    assert batches[-1] <= 3
    assert [note for note in progress.notes if note] == ["out of memory; on with batches of 3"]
    assert progress.done == {"sampled activations tiny": SEQUENCES}


def test_what_is_not_finite_is_named() -> None:
    model = tiny("llama")
    (neuron, *_) = sampled(subject(model))[0]["neuron"]
    with torch.no_grad():
        backbone(model).layers[0].mlp.up_proj.weight[neuron] = torch.nan
    with pytest.raises(CaptureError, match=f"layer 0, neuron {neuron}, sequence 0, position 0: .* is nan"):
        sampled(subject(model))
