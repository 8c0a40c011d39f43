"""Labels that others have given neurons, and who reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from neuroscribe.study.labels import LabelsSpec
from neuroscribe.study.spec import Study


@dataclass(frozen=True)
class Label:
    """What somebody has said of a neuron."""

    text: str
    place: str
    """Where it stands: file and line."""
    sequence_ids: tuple[int, ...] = ()
    """Sequences of the study's corpus that it was made from, as far as the file says so."""


@dataclass(frozen=True)
class Labels:
    """The labels of an explainer of the study, of all layers."""

    name: str
    """What they were read from, as the study names it."""
    by_neuron: Mapping[tuple[int, int, int], Sequence[Label]] = field(
        default_factory=dict[tuple[int, int, int], Sequence[Label]]
    )
    """By layer, neuron and polarity, in the order of the file."""


@runtime_checkable
class LabelSource(Protocol):
    """Reads files of labels."""

    def open(self, spec: LabelsSpec, study: Study) -> Labels:
        """Return the labels; raises LabelError for what is wrong in a file, naming the place."""
        ...
