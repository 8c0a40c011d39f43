"""Finds simulated values by explanation, simulator, neuron and sequence."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from neuroscribe.evidence.controls import held_controls
from neuroscribe.evidence.exemplars import Exemplars, Neuron
from neuroscribe.measures.calibration import Calibrated, linear, percentile
from neuroscribe.study.scoring import Calibration

Place = tuple[str, str, Neuron]
"""Explanation, simulator and the neuron on whose exemplars it was simulated."""

_PLACE = (
    "explanation_id", "simulator", "neuron", "polarity", "sequence_id", "split", "stratum", "stratum_size",
)  # fmt: skip


class Simulations:
    """One layer's table of simulations, indexed."""

    def __init__(self, simulations: pl.DataFrame, explanations: pl.DataFrame) -> None:
        flat = simulations["simulated"].explode().to_numpy().astype(np.float64)
        self._values = flat.reshape(len(simulations), -1) if len(simulations) else np.zeros((0, 0))
        self._rows: dict[Place, dict[int, int]] = {}
        self._strata: dict[tuple[Place, str], dict[int, tuple[str, int]]] = {}
        columns = simulations.select(_PLACE)
        for row, (name, simulator, neuron, polarity, sequence, split, stratum, size) in enumerate(
            columns.iter_rows()
        ):
            place = (name, simulator, (neuron, polarity))
            self._rows.setdefault(place, {})[sequence] = row
            if stratum is not None:
                self._strata.setdefault((place, split), {})[sequence] = (stratum, size)
        self._controls = held_controls(explanations, simulations, "simulator")

    def sequences(self, place: Place) -> frozenset[int]:
        """Return the sequences of a neuron that an explanation was simulated on."""
        return frozenset(self._rows.get(place, ()))

    def values(self, place: Place, sequence_ids: Sequence[int]) -> Float[np.ndarray, "sequence token"] | None:
        """Return simulated values, 0 to 10, on some sequences; None unless there are values for all."""
        rows = self._rows.get(place, {})
        if any(sequence not in rows for sequence in sequence_ids):
            return None
        return self._values[[rows[sequence] for sequence in sequence_ids]]

    def strata(self, place: Place, split: str) -> dict[int, tuple[str, int]]:
        """Return stratum and size of stratum of each sequence of a split that the estimate rests on."""
        return self._strata.get((place, split), {})

    def controls(self, explainer: str, simulator: str, neuron: Neuron) -> list[Place]:
        """Return where other neurons' explanations, by the same explainer, were simulated on this one."""
        held = self._controls.get((explainer, simulator, neuron), [])
        return [(explanation_id, simulator, neuron) for explanation_id in held]


def fitted(kind: Calibration, valid: Exemplars, simulations: Simulations, place: Place) -> Calibrated | None:
    """Return the map from simulated values to activations that `valid` gives, None if it has no values."""
    shown = valid.only(simulations.sequences(place))
    simulated = simulations.values(place, shown.sequence_ids)
    if simulated is None or not simulated.size or not np.isfinite(simulated).all():
        return None
    fit = percentile if kind == "percentile" else linear
    return fit(simulated.ravel(), shown.truth.ravel())
