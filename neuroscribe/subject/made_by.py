"""What activations were made by: the weights, the machine, and the libraries that decide the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from neuroscribe.subject.subject import Subject

LIBRARIES = ("numba", "numpy", "tokenizers", "torch", "transformers")
"""Packages with another release of which the same study may give other activations."""


@dataclass(frozen=True)
class MadeBy:
    """It stands beside what was captured and is no part of an identity.

    With another release numbers mostly change in their last digits, and no store is to become stale by an
    upgrade; that tables come from two releases can be seen in the manifest.
    """

    weights: str
    """Commit or SHA-256."""
    device: str
    """Its type, as torch names it."""
    dtype: str
    libraries: Mapping[str, str]
    """Versions."""
    earlier_layers: tuple[int, ...] = ()
    """Layers of the same run of which an earlier one had made everything, by whatever it had then."""

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {release}" for name, release in self.libraries.items())
        return f"{self.weights} in {self.dtype} on {self.device}; {libraries}"


def made_by(subject: Subject, *, earlier_layers: tuple[int, ...] = ()) -> MadeBy:
    """Return what a subject's activations are made by in this process."""
    return MadeBy(
        subject.revision,
        subject.device.type,
        str(subject.dtype).removeprefix("torch."),
        {name: version(name) for name in LIBRARIES},
        earlier_layers,
    )
