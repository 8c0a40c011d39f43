"""Tells, while a layer is simulated, whether a foreign explanation was as good as a neuron's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.controls import beaten
from neuroscribe.simulate.questions import Task
from neuroscribe.simulate.sequential import Reading

Where = tuple[str, Neuron]
"""An explainer, and a neuron that its explanations are held against."""


class Standing:
    """Own and foreign explanations on the control exemplars of every neuron, as far as they are read."""

    def __init__(
        self, evidence: LayerEvidence, explainers: Mapping[str, str], read: Sequence[Reading]
    ) -> None:
        self._evidence, self._explainers = evidence, explainers
        self._values: dict[Where, dict[tuple[str, bool], dict[int, Sequence[float]]]] = {}
        for task, readings in read:
            by_text = self._values.setdefault(self._where(task), {})
            own = by_text.setdefault((task.explanation_id, task.turn is None), {})
            pairs = zip(task.sequence_ids, readings, strict=True)
            own.update({sequence: reading.activations for sequence, reading in pairs})
        self._owners: dict[Where, Mapping[str, Any]] = {}
        for explainer in set(explainers.values()):
            for row in evidence.usable(explainer):
                self._owners.setdefault((explainer, (row["neuron"], row["polarity"])), row)
        self._known: dict[Where, bool] = {}

    def is_beaten(self, task: Task) -> bool:
        """Tell whether some control of a task's neuron was as good as every own explanation of it."""
        where = self._where(task)
        if where not in self._known:
            self._known[where] = self._is_beaten(where)
        return self._known[where]

    def _where(self, task: Task) -> Where:
        return self._explainers[task.explanation_id], task.neuron

    def _is_beaten(self, where: Where) -> bool:
        exemplars = self._evidence.control_exemplars(self._owners[where])
        scores: dict[bool, list[float | None]] = {True: [], False: []}
        for (_, is_own), values in self._values[where].items():
            if all(sequence in values for sequence in exemplars.sequence_ids):
                simulated = np.array([values[sequence] for sequence in exemplars.sequence_ids], np.float64)
                (score,) = correlations(exemplars.truth[None], simulated[None], exemplars.draws)
                scores[is_own].append(score.value)
        own = [score for score in scores[True] if score is not None]
        return beaten(max(own, default=None), scores[False])
