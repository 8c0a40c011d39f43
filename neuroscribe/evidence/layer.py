"""The evidence of one layer: what its tables say of each neuron, read off once and handed to every stage."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from neuroscribe.evidence.controls import controls
from neuroscribe.evidence.exemplars import Exemplars, Neuron, by_neuron, scored_exemplars
from neuroscribe.evidence.lookup import looked_up
from neuroscribe.evidence.sample import redrawn_neurons, sampled_neurons, set_aside
from neuroscribe.evidence.simulations import Simulations
from neuroscribe.study.spec import Study
from neuroscribe.text.corpus import TokenBytes


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

    @cached_property
    def neurons(self) -> tuple[Neuron, ...]:
        """The neurons to explain, each with its polarity: the study's sample, unless they were given."""
        if self._neurons is not None:
            return tuple(self._neurons)
        return sampled_neurons(self.study, self.layer, self.tables["activations/statistics"])

    @cached_property
    def redrawn_neurons(self) -> tuple[Neuron, ...]:
        """Those of them that are explained from further draws of exemplars."""
        return redrawn_neurons(self.study, self.layer, self.neurons)

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

    def looked_up(
        self, neuron: Neuron, sequence_ids: Sequence[int]
    ) -> Float[np.ndarray, "sequence token"] | None:
        """Return the token-lookup table read on some sequences; None for a neuron that has none."""
        if neuron not in self._lookup or not sequence_ids:
            return None
        tokens = np.array([self.tokens.ids[sequence] for sequence in sequence_ids])
        return looked_up(self._lookup[neuron], tokens)

    def explanations(self, explainer: str) -> list[dict[str, Any]]:
        """Return an explainer's rows of EXPLANATIONS by neuron, polarity and candidate, from draw 0 alone."""
        return [row for row in self._explanations.get(explainer, []) if not row["draw"]]

    def redrawn(self, explainer: str) -> list[dict[str, Any]]:
        """Return an explainer's rows with a text from further draws of exemplars, by neuron and draw."""
        rows = self._explanations.get(explainer, [])
        return [row for row in rows if row["draw"] and row["status"] == "ok"]

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

    @cached_property
    def _lookup(self) -> dict[Neuron, pl.DataFrame]:
        return by_neuron(self.tables["token_lookup"])

    @cached_property
    def _explanations(self) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {}
        ordered = self.tables["explanations"].sort(
            "neuron", "polarity", "sample_index", "draw", maintain_order=True
        )
        for row in ordered.iter_rows(named=True):
            rows.setdefault(row["explainer"], []).append(row)
        return rows
