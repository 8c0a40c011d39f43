"""The evidence of one layer: what its tables say of each neuron, read off once and handed to every stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from neuroscribe.evidence.controls import controls
from neuroscribe.evidence.exemplars import (
    Exemplars,
    Neuron,
    by_neuron,
    explained_side,
    scored_exemplars,
)
from neuroscribe.evidence.lookup import left_out_lookup
from neuroscribe.evidence.sample import sampled_neurons, set_aside
from neuroscribe.evidence.simulations import Simulations
from neuroscribe.study.spec import Study
from neuroscribe.text.corpus import TokenBytes


@dataclass(frozen=True)
class Kept:
    """What a neuron does on all sequences that were kept of it, ascending by id; none for one unsampled."""

    sequence_ids: Int[np.ndarray, " sequence"]
    values: Float[np.ndarray, "sequence token"]
    """Activation on the explained side."""


class LayerEvidence:
    """One layer's tables by name, and what follows from them; nothing is read before it is asked for.

    A stage is given the tables of the stages that it reads; asking for another one raises KeyError.
    """

    def __init__(
        self,
        study: Study,
        layer: int,
        tables: Mapping[str, pl.DataFrame],
        *,
        neurons: Sequence[Neuron] | None = None,
    ) -> None:
        self.study, self.layer = study, layer
        self.tables = tables
        self._neurons = neurons
        self._exemplars: dict[tuple[Neuron, str], Exemplars] = {}
        self._kept: dict[Neuron, Kept] = {}
        self._ceilings: dict[Neuron, Float[np.ndarray, "sequence token"]] = {}

    @cached_property
    def neurons(self) -> tuple[Neuron, ...]:
        """The neurons to explain, each with its polarity: the study's sample, unless they were given."""
        if self._neurons is not None:
            return tuple(self._neurons)
        return sampled_neurons(self.study, self.layer, self.tables["activations/statistics"])

    @cached_property
    def set_aside(self) -> pl.DataFrame:
        """The neurons that are not explained, with their reasons: see `evidence.sample`."""
        return set_aside(self.study, self.layer, self.tables["activations/statistics"])

    @cached_property
    def tokens(self) -> TokenBytes:
        """The token ids, and their bytes, of every sequence."""
        return TokenBytes(self.tables["corpus/sequences"], self.tables["corpus/vocabulary"])

    @cached_property
    def simulations(self) -> Simulations:
        """The simulated values, by explanation, simulator, neuron and sequence."""
        return Simulations(self.tables["simulations"], self.tables["explanations"])

    def records(self, neuron: Neuron) -> pl.DataFrame:
        """Return a neuron's rows of NEURON_RECORDS; none for one without exemplars."""
        return self._records.get(neuron, self.tables["neuron_records"].clear())

    def exemplars(self, neuron: Neuron, split: str) -> Exemplars:
        """Return the exemplars by which a neuron is scored on a split, with the truth on them."""
        if (neuron, split) not in self._exemplars:
            per_kind, polarities = self.study.scoring.sequences_per_split, self.study.polarities
            self._exemplars[neuron, split] = scored_exemplars(
                self.records(neuron), split, per_kind=per_kind, polarities=polarities
            )
        return self._exemplars[neuron, split]

    def lookup(self, neuron: Neuron) -> pl.DataFrame:
        """Return a neuron's rows of TOKEN_LOOKUP, sorted by token; none for one outside the sample."""
        return self._lookup.get(neuron, self.tables["token_lookup"].clear())

    def truth(self, neuron: Neuron) -> Kept:
        """Return a neuron's activations on all sequences that were kept of it."""
        if neuron not in self._kept:
            self._kept[neuron] = self._truth(*neuron)
        return self._kept[neuron]

    def ceiling(self, neuron: Neuron) -> Float[np.ndarray, "sequence token"]:
        """Return what the tokens alone let one expect, on the sequences of `truth`.

        Each sequence is read by token means over all other documents: see `left_out_lookup`.
        """
        if neuron not in self._ceilings:
            kept = self.truth(neuron)
            place = np.searchsorted(self._corpus.sequence_ids, kept.sequence_ids)
            tokens, documents = self._corpus.tokens[place], self._corpus.documents[place]
            self._ceilings[neuron] = left_out_lookup(tokens, kept.values, documents)
        return self._ceilings[neuron]

    def looked_up(
        self, neuron: Neuron, sequence_ids: Sequence[int]
    ) -> Float[np.ndarray, "sequence token"] | None:
        """Return the ceiling on some sequences; None where the neuron or one of them was not kept."""
        kept, wanted = self.truth(neuron).sequence_ids, np.array(sequence_ids, dtype=np.int64)
        if not len(wanted) or not np.isin(wanted, kept).all():
            return None
        return self.ceiling(neuron)[np.searchsorted(kept, wanted)]

    def explanations(self, explainer: str) -> list[dict[str, Any]]:
        """Return an explainer's rows of EXPLANATIONS by neuron, polarity and candidate."""
        return self._explanations.get(explainer, [])

    def usable(self, explainer: str) -> list[dict[str, Any]]:
        """Return those of an explainer's rows that have a text."""
        return [row for row in self.explanations(explainer) if row["status"] == "ok"]

    def controls(
        self, explainer: str, tested: Mapping[Neuron, Sequence[int]]
    ) -> dict[Neuron, Mapping[str, Any]]:
        """Return the row that is each neuron's control where that neuron is tested on these sequences."""
        return controls(self.usable(explainer), tested)

    @cached_property
    def _records(self) -> dict[Neuron, pl.DataFrame]:
        return by_neuron(self.tables["neuron_records"])

    def _truth(self, index: int, polarity: int) -> Kept:
        if index not in self._sampled:
            return Kept(np.zeros(0, dtype=np.int64), np.zeros((0, self._corpus.tokens.shape[1])))
        rows = self._sampled[index]
        values = rows["activations"].explode().to_numpy().astype(np.float64).reshape(len(rows), -1)
        ids = rows["sequence_id"].to_numpy().astype(np.int64)
        return Kept(ids, explained_side(values, polarity, self.study.polarities))

    @cached_property
    def _sampled(self) -> dict[int, pl.DataFrame]:
        parts = (
            self.tables["sampled_activations"]
            .sort("neuron", "sequence_id")
            .partition_by("neuron", as_dict=True, maintain_order=True)
        )
        return {int(key[0]): rows for key, rows in parts.items()}

    @cached_property
    def _corpus(self) -> "_Corpus":
        sequences = self.tables["corpus/sequences"].sort("sequence_id")
        return _Corpus(
            sequences["sequence_id"].to_numpy().astype(np.int64),
            np.array(sequences["token_ids"].to_list()),
            sequences["document_id"].to_numpy().astype(np.int64),
        )

    @cached_property
    def _lookup(self) -> dict[Neuron, pl.DataFrame]:
        return by_neuron(self.tables["token_lookup"])

    @cached_property
    def _explanations(self) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {}
        ordered = self.tables["explanations"].sort("neuron", "polarity", "sample_index", maintain_order=True)
        for row in ordered.iter_rows(named=True):
            rows.setdefault(row["explainer"], []).append(row)
        return rows


@dataclass(frozen=True)
class _Corpus:
    """The corpus as arrays, ascending by sequence id."""

    sequence_ids: Int[np.ndarray, " sequence"]
    tokens: Int[np.ndarray, "sequence token"]
    documents: Int[np.ndarray, " sequence"]
