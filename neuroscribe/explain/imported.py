"""The explainer `imported`: labels that others have made, simulated and scored as any other.

What they were made from is not known, unless the file says so: they may have been made from sequences on
which they are scored (docs/scores.md).
"""

from collections.abc import Sequence
from typing import Literal

from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Before, Listing, Said, Unsaid
from neuroscribe.explain.parsing import LONGEST
from neuroscribe.ports.labels import Label, Labels
from neuroscribe.study.labels import LabelsSpec


class Imported(LabelsSpec, Listing):
    """Labels of others from files: CSV, Parquet, OpenAI's, Transluce's or Neuronpedia's."""

    kind: Literal["imported"] = "imported"

    @property
    def texts_per_neuron(self) -> int:
        """As many as are taken."""
        return self.candidates

    @property
    def is_pinned(self) -> bool:
        """Whether the files are held to a hash."""
        return self.sha256 is not None

    def said(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Said | str:
        """Return the first of a neuron's labels."""
        first = self.said_each(evidence, neuron, before)[0]
        return first.reason if isinstance(first, Unsaid) else first

    def said_each(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Sequence[Said | Unsaid]:
        """Return all labels of a neuron, in the order of the files."""
        labels = before.labels
        assert labels is not None, "opened by the stage"
        found = labels.by_neuron.get((evidence.layer, *neuron), ())
        return [_said(label) for label in found] or [Unsaid(_without(labels, evidence.layer, neuron))]


def _without(labels: Labels, layer: int, neuron: Neuron) -> str:
    """Say that a neuron has no label, and where one of its other side would be."""
    number, polarity = neuron
    if not labels.by_neuron.get((layer, number, -polarity)):
        return f"no label in {labels.name}"
    return (
        f"no label of polarity {polarity:+d} in {labels.name}, but of {-polarity:+d}; if the file means this"
        " side, say so in its column `polarity`"
    )


def _said(label: Label) -> Said | Unsaid:
    if len(label.text) > LONGEST:
        return Unsaid(f"{label.place}: {len(label.text):,} characters, of {LONGEST} at most", "too_long")
    return Said(label.text, sequence_ids=label.sequence_ids, raw=label.place)
