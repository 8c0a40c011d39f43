"""The evidence of one layer: what its tables say of each neuron, read off once and handed to every stage."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from neuroscribe.evidence.controls import controls
from neuroscribe.evidence.drawn import Drawn
from neuroscribe.evidence.effects import Effects
from neuroscribe.evidence.encoded import PieceVectors
from neuroscribe.evidence.exemplars import (
    Exemplars,
    Kept,
    Neuron,
    by_neuron,
    explained_side,
    scored_exemplars,
)
from neuroscribe.evidence.lookup import left_out_lookup
from neuroscribe.evidence.population import Corpus, Population, in_half
from neuroscribe.evidence.sample import (
    read_neurons,
    recognisable_neurons,
    redrawn_neurons,
    sampled_neurons,
    set_aside,
)
from neuroscribe.evidence.simulations import Simulations
from neuroscribe.evidence.texts import by_explainer, explained_sides, read_texts
from neuroscribe.measures.draws import Draws
from neuroscribe.study.scoring import FIRING_SHARE
from neuroscribe.study.spec import Study
from neuroscribe.tables.columns import RANDOM, RECOGNISABLE
from neuroscribe.text.corpus import TokenBytes

_REMEMBERED = 8
"""Neurons whose values on all kept sequences are held at a time: of all, 100 on 50,000 sequences are 5 GB."""
_Value = TypeVar("_Value")
CONTROL_TOPS = 1
"""Top exemplars of a neuron on which controls are held against it."""


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
        self._populations: dict[tuple[Any, ...], Population] = {}
        self._kept: dict[Neuron, Kept] = {}
        self._read: dict[str, frozenset[Neuron]] = {}
        self._pieces: dict[str, PieceVectors] = {}
        self._ceilings: dict[Neuron, Float[np.ndarray, "sequence token"]] = {}

    @cached_property
    def neurons(self) -> tuple[Neuron, ...]:
        """The neurons to explain, each with its polarity: the study's sample, unless they were given.

        The recognisable ones come last.
        """
        if self._neurons is not None:
            return tuple(self._neurons)
        random = sampled_neurons(self.study, self.layer, self.tables["activations/statistics"])
        return (*random, *self._recognisable)

    def drawn_as(self, neuron: Neuron) -> str:
        """Return how a neuron came into the sample, as the column `sample` says it."""
        return RECOGNISABLE if neuron in self._recognisable else RANDOM

    @cached_property
    def redrawn_neurons(self) -> tuple[Neuron, ...]:
        """Those of the random ones that are explained from further draws of exemplars."""
        random = [neuron for neuron in self.neurons if neuron not in self._recognisable]
        return redrawn_neurons(self.study, self.layer, random)

    @cached_property
    def _recognisable(self) -> tuple[Neuron, ...]:
        if not self.study.sample.recognisable:
            return ()
        tables = self.tables["activations/statistics"], self.tables["predictability"]
        return recognisable_neurons(self.study, self.layer, *tables)

    def is_read(self, neuron: Neuron, simulator: str) -> bool:
        """Tell whether a simulator reads the explanations of a neuron: see `evidence.sample.read_neurons`."""
        if self.study.simulators[simulator].reads_all(self.layer):
            return True
        if simulator not in self._read:
            sides = explained_sides(self._every) if "explanations" in self.tables else self.neurons
            self._read[simulator] = read_neurons(self.study, self.layer, sides, simulator)
        return neuron in self._read[simulator]

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

    @cached_property
    def effects(self) -> Effects:
        """What the neurons do to the next token."""
        return Effects(self.tables["effects"])

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

    @cached_property
    def kept_ids(self) -> list[int]:
        """The sequences that were kept of every sampled neuron, ascending."""
        return self.tables["sampled_activations"]["sequence_id"].unique().sort().to_list()

    def pieces(self, encoder: str) -> PieceVectors:
        """Return these sequences as an encoder of the study sees them, by its identity.

        Raises StoreError where ENCODED_CORPUS lacks one of them by this encoder.
        """
        if encoder not in self._pieces:
            self._pieces = {encoder: PieceVectors(self.tables["encoded_corpus"], encoder, self.kept_ids)}
        return self._pieces[encoder]

    def truth(self, neuron: Neuron) -> Kept:
        """Return a neuron's activations on all sequences that were kept of it."""
        return _remembered(self._kept, neuron, lambda: self._truth(*neuron))

    def ceiling(self, neuron: Neuron) -> Float[np.ndarray, "sequence token"]:
        """Return what the tokens alone let one expect, on the sequences of `truth`.

        Each sequence is read by token means over all other documents: see `left_out_lookup`.
        """
        return _remembered(self._ceilings, neuron, lambda: self._ceiling(neuron))

    def looked_up(
        self, neuron: Neuron, sequence_ids: Sequence[int]
    ) -> Float[np.ndarray, "sequence token"] | None:
        """Return the ceiling on some sequences; None where the neuron or one of them was not kept."""
        kept, wanted = self.truth(neuron).sequence_ids, np.array(sequence_ids, dtype=np.int64)
        if not len(wanted) or not np.isin(wanted, kept).all():
            return None
        return self.ceiling(neuron)[np.searchsorted(kept, wanted)]

    def explanations(self, explainer: str) -> list[dict[str, Any]]:
        """Return an explainer's rows of EXPLANATIONS from draw 0 alone, by neuron, polarity and candidate."""
        return [row for row in self._every.get(explainer, []) if not row["draw"]]

    def redrawn(self, explainer: str) -> list[dict[str, Any]]:
        """Return an explainer's rows with a text from further draws of exemplars, by neuron and draw."""
        return [row for row in self._every.get(explainer, []) if row["draw"] and row["status"] == "ok"]

    def usable(self, explainer: str) -> list[dict[str, Any]]:
        """Return those of an explainer's rows that have a text."""
        return [row for row in self.explanations(explainer) if row["status"] == "ok"]

    def population(self, explanation: Mapping[str, Any], split: str) -> Population:
        """Return the sequences over which an explanation is scored on a split.

        All but those of documents that its explainer saw; where `valid` is needed to choose among candidates,
        a seeded half of these for each split, documents of the neuron's exemplars with the split of these.
        """
        neuron = (explanation["neuron"], explanation["polarity"])
        key = (neuron, explanation["explainer"], tuple(explanation["sequence_ids"]), split)
        if key not in self._populations:
            # Large where a corpus is, and asked for one explanation after the other.
            self._populations = dict(list(self._populations.items())[-1:])
            self._populations[key] = self._population(explanation, neuron, split)
        return self._populations[key]

    def paper_exemplars(self, explanation: Mapping[str, Any], split: str) -> Exemplars:
        """Return top and random exemplars, as in Bills et al. 2023, that the explainer saw nothing of.

        For an explainer that was shown a token table they are drawn from the held-out documents, those of
        two splits from different ones.
        """
        explainer, per_kind = explanation["explainer"], self.study.scoring.sequences_per_split
        if not self.study.reads_table(explainer):
            return self.exemplars((explanation["neuron"], explanation["polarity"]), split)
        population = self.population(explanation, split)
        if split not in self.study.population_splits(explainer):
            # Values are fitted on this split, and its population is that of the other one.
            scored = list(self.paper_exemplars(explanation, "test").sequence_ids)
            documents = self._corpus.documents
            population = population.of(~np.isin(documents[population.sequence_ids], documents[scored]))
        return population.top_and_random(per_kind)

    def draws(
        self,
        explanation: Mapping[str, Any],
        split: str,
        near: Callable[..., Float[np.ndarray, " sequence"]] | None = None,
    ) -> Drawn:
        """Return the sequences of the population from which an explanation's score is estimated.

        `near` tells, of some texts, how near each kept sequence is to any of them (see `evidence.drawn`).
        """
        population = self.population(explanation, split)
        shown = self.paper_exemplars(explanation, split)
        pairs = zip(shown.sequence_ids, shown.kinds, strict=True)
        tops = tuple(sequence for sequence, kind in pairs if kind == "top")
        nearness = None
        if near is not None and len(population.sequence_ids):
            kept = self.truth((explanation["neuron"], explanation["polarity"])).sequence_ids
            nearness = near(*read_texts(explanation))[np.isin(kept, population.sequence_ids)]
        return population.draws(self.study.scoring.sequences, first=tops, nearness=nearness)

    def firing(self, neuron: Neuron) -> float:
        """Return the activation from which on a neuron fires: see `study.scoring.FIRING_SHARE`.

        Infinite where no exemplar of the side is above 0: at 0 it would fire everywhere.
        """
        rows = self.records(neuron).filter(kind="top")
        peaks = (rows["peak"] * rows["polarity"]).to_numpy()
        smallest, largest = float(peaks.min(initial=np.inf)), float(peaks.max(initial=0.0))
        if largest <= 0:
            return np.inf
        return FIRING_SHARE * (smallest if smallest > 0 else largest)

    def controls(
        self,
        explainer: str,
        *,
        count: int,
        tested_on: Callable[[Mapping[str, Any]], Exemplars] | None = None,
    ) -> dict[Neuron, list[Mapping[str, Any]]]:
        """Return up to `count` rows that are held against each neuron of an explainer, in turn.

        The explainer of none has seen a document of what the neuron is tested on: its control exemplars,
        unless `tested_on` gives others.
        """
        tested_on = tested_on or self.control_exemplars
        usable = self.usable(explainer)
        owners: dict[Neuron, Mapping[str, Any]] = {}
        for explanation in usable:
            owners.setdefault((explanation["neuron"], explanation["polarity"]), explanation)
        tested = {neuron: tested_on(owner) for neuron, owner in owners.items()}

        def unseen(other: Mapping[str, Any], neuron: Neuron) -> bool:
            return not self.seen(other, np.array(tested[neuron].sequence_ids, dtype=np.int64)).any()

        return controls(usable, unseen, count=count, seed=f"{self.study.scoring.seed} {self.layer}")

    def control_exemplars(self, explanation: Mapping[str, Any]) -> Exemplars:
        """Return the exemplars on which controls are held against a neuron: a few top ones, all random ones.

        Random exemplars recur among neurons, so that a control has mostly been read on them for its own
        neuron; the top ones are this neuron's alone.
        """
        shown = self.paper_exemplars(explanation, "test")
        pairs = zip(shown.sequence_ids, shown.kinds, strict=True)
        tops = [sequence for sequence, kind in pairs if kind == "top"][:CONTROL_TOPS]
        return shown.only({*tops, *shown.sequence_ids[shown.kinds.count("top") :]})

    def seen(
        self, explanation: Mapping[str, Any], sequence_ids: Int[np.ndarray, " sequence"]
    ) -> Bool[np.ndarray, " sequence"]:
        """Tell of which sequences an explainer has seen the document, by exemplars or in a table."""
        if self.study.reads_table(explanation["explainer"]):
            return ~self.held_out[sequence_ids]
        documents = self._corpus.documents
        return np.isin(documents[sequence_ids], documents[list(explanation["sequence_ids"])])

    def documents(self, sequence_ids: Int[np.ndarray, " sequence"]) -> Int[np.ndarray, " sequence"]:
        """Return the documents of some sequences."""
        return self._corpus.documents[sequence_ids]

    def beside(self, explanation: Mapping[str, Any], exemplars: Exemplars) -> Draws:
        """Return how many sequences each control exemplar stands for: of the top stratum, or of the rest."""
        population = self.population(explanation, "test")
        top = np.array([kind == "top" for kind in exemplars.kinds], dtype=bool)
        rest = max(1, len(population.sequence_ids) - population.top)
        return Draws((~top).astype(np.int64)[None], np.where(top, population.top, rest)[None].astype(float))

    def _population(self, explanation: Mapping[str, Any], neuron: Neuron, split: str) -> Population:
        study, kept = self.study, self.truth(neuron)
        unseen = ~self.seen(explanation, kept.sequence_ids)
        seed = (study.scoring.seed, self.layer, neuron[0], neuron[1] + 1)
        if "valid" in study.population_splits(explanation["explainer"]):
            unseen &= self._of_split(neuron, kept.sequence_ids, split, seed)
        keep = np.flatnonzero(unseen)
        every = len(kept.sequence_ids)
        return Population(
            kept.sequence_ids[keep],
            kept.values[keep],
            self.ceiling(neuron)[keep],
            np.random.default_rng(seed).permutation(every)[keep],
            np.random.default_rng(seed[:2]).permutation(every)[keep],
            top=max(1, round(study.capture.top_k * len(keep) / max(1, len(self._corpus.documents)))),
        )

    def _of_split(
        self, neuron: Neuron, sequence_ids: Int[np.ndarray, " sequence"], split: str, seed: tuple[int, ...]
    ) -> Bool[np.ndarray, " sequence"]:
        """Tell which sequences are of a split: a neuron's exemplars decide for their documents."""
        documents = self._corpus.documents[sequence_ids]
        other = "test" if split == "valid" else "valid"
        own, others = (
            np.isin(documents, self._corpus.documents[list(self.exemplars(neuron, each).sequence_ids)])
            for each in (split, other)
        )
        return own | (in_half(documents, second=split == "valid", seed=seed) & ~others)

    @cached_property
    def held_out(self) -> Bool[np.ndarray, " sequence"]:
        """Whether token tables know nothing of a sequence's document, by sequence id."""
        return self.tables["corpus/sequences"]["held_out"].to_numpy()

    @cached_property
    def _records(self) -> dict[Neuron, pl.DataFrame]:
        return by_neuron(self.tables["neuron_records"])

    def _ceiling(self, neuron: Neuron) -> Float[np.ndarray, "sequence token"]:
        kept = self.truth(neuron)
        place = np.searchsorted(self._corpus.sequence_ids, kept.sequence_ids)
        return left_out_lookup(self._corpus.tokens[place], kept.values, self._corpus.documents[place])

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
    def _corpus(self) -> Corpus:
        return Corpus.of(self.tables["corpus/sequences"])

    @cached_property
    def _lookup(self) -> dict[Neuron, pl.DataFrame]:
        return by_neuron(self.tables["token_lookup"])

    @cached_property
    def _every(self) -> dict[str, list[dict[str, Any]]]:
        return by_explainer(self.tables["explanations"])


def _remembered(known: dict[Neuron, _Value], neuron: Neuron, make: Callable[[], _Value]) -> _Value:
    """Return what is known of a neuron, or make it and forget what was made longest ago."""
    if neuron not in known:
        known[neuron] = make()
        while len(known) > _REMEMBERED:
            del known[next(iter(known))]
    return known[neuron]
