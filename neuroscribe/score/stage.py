"""Scores every explanation: value, interval, token-lookup ceiling and shuffled control side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from neuroscribe.corpus import token_rows
from neuroscribe.exemplars import Exemplars, Neuron, by_neuron, scored_exemplars
from neuroscribe.records import SCORES
from neuroscribe.score.correlation import Correlation, correlation
from neuroscribe.simulate.stage import scored_splits
from neuroscribe.studies import Study
from neuroscribe.token_lookup import looked_up

REGIMES = ("top_and_random", "random_only")
_MEASURE = "correlation"


def scorer_name(simulator: str) -> str:
    """Return the name under which scores by a simulator are published."""
    return f"{_MEASURE}_{simulator}"


@dataclass(frozen=True)
class LayerResults:
    """One layer's tables, as a score needs them."""

    explanations: pl.DataFrame
    simulations: pl.DataFrame
    records: pl.DataFrame
    lookup: pl.DataFrame
    sequences: pl.DataFrame


def scored(study: Study, results: LayerResults) -> pl.DataFrame:
    """Return one row per explanation, scorer, split and regime, with undefined scores null and explained."""
    book = _Book(study, results)
    rows: list[dict[str, Any]] = []
    for simulator, spec in study.simulators.items():
        own = results.explanations.filter(pl.col("explainer").is_in(list(spec.explainers)))
        for explanation in own.sort("neuron", "polarity", "explainer", "sample_index").iter_rows(named=True):
            for split in scored_splits(study, explanation["explainer"]):
                rows += [book.row(explanation, simulator, split, regime) for regime in REGIMES]
    return SCORES.checked(_with_choice(SCORES.frame(rows), results.explanations))


class _Book:
    """Looks up truth, simulations, lookup tables and controls while a layer is scored."""

    def __init__(self, study: Study, results: LayerResults) -> None:
        self._study = study
        self._records = by_neuron(results.records)
        self._tokens = token_rows(results.sequences)
        self._lookup = by_neuron(results.lookup)
        self._explainers = {
            row["explanation_id"]: (row["explainer"], (row["neuron"], row["polarity"]))
            for row in results.explanations.iter_rows(named=True)
        }
        self._simulated = _by_explanation(results.simulations)

    def row(self, explanation: dict[str, Any], simulator: str, split: str, regime: str) -> dict[str, Any]:
        """Return one row of the table of scores."""
        neuron = (explanation["neuron"], explanation["polarity"])
        exemplars = self._exemplars(neuron, split, regime)
        simulated = self._simulated.get((explanation["explanation_id"], simulator, neuron), {})
        if explanation["status"] != "ok":
            result = Correlation(None, None, None, f"explanation {explanation['status']}")
        else:
            result = self._agreement(exemplars, simulated)
        return {
            "explanation_id": explanation["explanation_id"],
            "layer": explanation["layer"],
            "neuron": neuron[0],
            "polarity": neuron[1],
            "explainer": explanation["explainer"],
            "scorer": scorer_name(simulator),
            "split": split,
            "regime": regime,
            **vars(result),
            "n_sequences": len(exemplars.sequence_ids),
            "n_tokens": exemplars.truth.size,
            "ceiling": self._ceiling(neuron, exemplars),
            "control": self._control(explanation["explainer"], simulator, neuron, exemplars),
            "chosen": False,
        }

    def _exemplars(self, neuron: Neuron, split: str, regime: str) -> Exemplars:
        every = scored_exemplars(
            self._records[neuron],
            split,
            per_kind=self._study.scoring.sequences_per_split,
            polarities=self._study.polarities,
        )
        keep = [regime == "top_and_random" or kind == "random" for kind in every.kinds]
        return Exemplars(
            tuple(sequence for sequence, kept in zip(every.sequence_ids, keep, strict=True) if kept),
            tuple(kind for kind, kept in zip(every.kinds, keep, strict=True) if kept),
            every.truth[np.array(keep, dtype=bool)] if keep else every.truth,
        )

    def _agreement(
        self, exemplars: Exemplars, simulated: Mapping[int, Float[np.ndarray, " token"]]
    ) -> Correlation:
        if any(sequence not in simulated for sequence in exemplars.sequence_ids):
            return Correlation(None, None, None, "not simulated")
        values = [simulated[sequence] for sequence in exemplars.sequence_ids]
        stacked = np.array(values).reshape(exemplars.truth.shape)
        scoring = self._study.scoring
        return correlation(exemplars.truth, stacked, samples=scoring.bootstrap_samples, seed=scoring.seed)

    def _ceiling(self, neuron: Neuron, exemplars: Exemplars) -> float | None:
        """Score of the direct token-lookup table on the same tokens."""
        if neuron not in self._lookup or not exemplars.sequence_ids:
            return None
        tokens = np.array([self._tokens[sequence] for sequence in exemplars.sequence_ids])
        values = looked_up(self._lookup[neuron], tokens)
        return correlation(exemplars.truth, values, samples=0, seed=0).value

    def _control(self, explainer: str, simulator: str, neuron: Neuron, exemplars: Exemplars) -> float | None:
        """Score of another neuron's explanation, by the same explainer and simulator, on the same tokens."""
        for (explanation_id, by, simulated_neuron), values in self._simulated.items():
            other_explainer, own_neuron = self._explainers[explanation_id]
            foreign = simulated_neuron == neuron and own_neuron != neuron
            if foreign and by == simulator and other_explainer == explainer:
                return self._agreement(exemplars, values).value
        return None


def _by_explanation(
    simulations: pl.DataFrame,
) -> dict[tuple[str, str, Neuron], dict[int, Float[np.ndarray, " token"]]]:
    found: dict[tuple[str, str, Neuron], dict[int, Float[np.ndarray, " token"]]] = {}
    for row in simulations.iter_rows(named=True):
        key = (row["explanation_id"], row["simulator"], (row["neuron"], row["polarity"]))
        found.setdefault(key, {})[row["sequence_id"]] = np.array(row["simulated"], dtype=np.float64)
    return found


def _with_choice(scores: pl.DataFrame, explanations: pl.DataFrame) -> pl.DataFrame:
    """Mark the candidate with the best top-and-random value on `valid` by each scorer.

    Ties go to the first; without a value, one with a text goes before one without.
    """
    index = explanations.select("explanation_id", "sample_index", usable=pl.col("status") == "ok")
    valid = scores.filter((pl.col("split") == "valid") & (pl.col("regime") == REGIMES[0]))
    ranked = (
        scores.select("explanation_id", "neuron", "polarity", "explainer", "scorer")
        .unique(maintain_order=True)
        .join(valid.select("explanation_id", "scorer", "value"), on=["explanation_id", "scorer"], how="left")
        .join(index, on="explanation_id")
        .sort("sample_index")
        .sort("value", "usable", descending=True, nulls_last=True, maintain_order=True)
        .unique(["neuron", "polarity", "explainer", "scorer"], keep="first", maintain_order=True)
        .select("explanation_id", "scorer", best=pl.lit(True))
    )
    joined = scores.join(ranked, on=["explanation_id", "scorer"], how="left", maintain_order="left")
    return joined.with_columns(chosen=pl.col("best").fill_null(False)).drop("best")
