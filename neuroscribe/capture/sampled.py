"""A second, small pass of the subject, which keeps every activation of the sampled neurons.

What the capture keeps of all neurons suffices to choose and explain some; how far an explanation agrees with
these is a question about the whole corpus, and is answered from here without running the subject again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroscribe.capture.fit import check_size, check_tokens, fits, lack_of_memory_explained
from neuroscribe.capture.reduction import located
from neuroscribe.errors import CaptureError
from neuroscribe.evidence.sample import recognisable_neurons, sampled_neurons, sampled_sequences
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study
from neuroscribe.subject.batch import read_batch
from neuroscribe.subject.subject import Subject
from neuroscribe.tables.records import SAMPLED_ACTIVATIONS
from neuroscribe.text.corpus import token_matrix


def sampled_activations(
    study: Study,
    subject: Subject,
    sequences: pl.DataFrame,
    statistics: Mapping[int, pl.DataFrame],
    *,
    progress: Progress,
    predictability: Mapping[int, pl.DataFrame] | None = None,
) -> dict[int, pl.DataFrame]:
    """Return the SAMPLED_ACTIVATIONS of the layers whose `statistics` are given.

    `predictability` has the same layers where the study draws recognisable neurons.

    One pass is made, up to the deepest of them. Memory is that of the tables: 4 bytes for each layer, sampled
    neuron, sequence and token, and 2 or 4 more while the pass goes on. A batch for which memory does not
    suffice is halved. Raises StudyError and SubjectError where study, corpus and subject do not fit, and
    CaptureError for NaN and inf, naming layer, neuron, sequence and position, and where memory does not
    suffice for one sequence.
    """
    check_size(study, subject)
    tokens = torch.as_tensor(token_matrix(sequences))
    check_tokens(subject, tokens)
    neurons = {
        layer: _neurons(study, layer, table, (predictability or {}).get(layer))
        for layer, table in sorted(statistics.items())
    }
    kept = _Kept(subject, neurons, sampled_sequences(study), tokens)
    with lack_of_memory_explained(subject):
        kept.run(progress)
        return {layer: kept.table(layer) for layer in neurons}


def _neurons(
    study: Study, layer: int, statistics: pl.DataFrame, predictability: pl.DataFrame | None
) -> list[int]:
    """Return a layer's sampled neurons, ascending, each once."""
    sides = sampled_neurons(study, layer, statistics)
    if predictability is not None:
        sides += recognisable_neurons(study, layer, statistics, predictability)
    return sorted({neuron for neuron, _ in sides})


@dataclass
class _Kept:
    """The activations of some neurons per layer on some sequences, filled batch by batch."""

    subject: Subject
    neurons: Mapping[int, Sequence[int]]
    sequence_ids: Sequence[int]
    tokens: Int[Tensor, "sequence token"]
    """Of the whole corpus."""

    def __post_init__(self) -> None:
        dtype = torch.bfloat16 if self.subject.dtype == torch.bfloat16 else torch.float32
        shape = (len(self.sequence_ids), self.tokens.shape[1])
        self._values: dict[int, Float[Tensor, "neuron sequence token"]] = {
            layer: torch.empty(len(neurons), *shape, dtype=dtype) for layer, neurons in self.neurons.items()
        }
        # A layer of which no neuron is sampled need not be run.
        self._sites = self.subject.sites([layer for layer, neurons in self.neurons.items() if neurons])

    def run(self, progress: Progress) -> None:
        """Run all sequences in the batches of the capture, smaller ones after a lack of memory."""
        done, batch = 0, self.subject.batch(self.tokens.shape[1])
        total = len(self.sequence_ids) if self._sites else 0
        label = f"sampled activations {self.subject.name}"
        with progress.task(label, total=total, unit="sequences") as advance:
            while done < total:
                stop = min(done + batch, total)
                if fits(self.subject, self._take, done, stop, smallest=stop - done == 1):
                    advance(stop - done)
                    done = stop
                else:
                    batch = (stop - done) // 2
                    advance(0, note=f"out of memory; on with batches of {batch}")

    def _take(self, done: int, stop: int) -> None:
        """Run the sequences from one place to another; a batch that broke off may be taken again."""
        ids, skipped = self.sequence_ids[done:stop], len(self.subject.prefix_ids)

        def keep(layer: int, read: Float[Tensor, "sequence position neuron"]) -> None:
            neurons = self.neurons[layer]
            chosen = read[:, skipped:, list(neurons)].cpu()
            if not bool(torch.isfinite(chosen).all()):
                raise CaptureError(located(layer, chosen.float(), ids, neurons))
            self._values[layer][:, done:stop] = chosen.permute(2, 0, 1)

        read_batch(self.subject, self.tokens[list(ids)], self._sites, keep)

    def table(self, layer: int) -> pl.DataFrame:
        """Return a layer's table, and let its tensor go."""
        neurons, values = self.neurons[layer], self._values.pop(layer)
        if not neurons:
            return SAMPLED_ACTIVATIONS.frame([])
        ids, vectors = np.array(self.sequence_ids), values.flatten(0, 1).float().numpy()
        columns = {
            "layer": np.full(len(vectors), layer, dtype=np.int16),
            "neuron": np.repeat(np.array(neurons, dtype=np.int32), len(ids)),
            "sequence_id": np.tile(ids.astype(np.uint32), len(neurons)),
            "activations": pl.Series(vectors).cast(pl.List(pl.Float32)),
        }
        return SAMPLED_ACTIVATIONS.frame(columns)
