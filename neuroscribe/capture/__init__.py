"""Capture: one pass of the corpus through the subject, keeping of every neuron what the study needs.

Holds the pass, its kernels, the state that is merged exactly, checkpoints, and the tables made from it:
statistics, records and connections; and a second, small pass that keeps all activations of the sampled
neurons, with the token lookup made from them. Imports subject, text, evidence, tables and the ports.
Not here: any language model that explains.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroscribe.capture.checkpoints import Checkpoints as Checkpoints
    from neuroscribe.capture.fit import automatic_batch_tokens as automatic_batch_tokens
    from neuroscribe.capture.fit import check_size as check_size
    from neuroscribe.capture.merge import merged as merged
    from neuroscribe.capture.run import capture as capture
    from neuroscribe.capture.run import capture_shard as capture_shard
    from neuroscribe.capture.state import CapturePlan as CapturePlan
    from neuroscribe.capture.state import LayerState as LayerState
    from neuroscribe.capture.state import Pool as Pool

_HOMES = {
    "checkpoints": ("Checkpoints",),
    "fit": ("automatic_batch_tokens", "check_size"),
    "merge": ("merged",),
    "run": ("capture", "capture_shard"),
    "state": ("CapturePlan", "LayerState", "Pool"),
}


def __getattr__(name: str) -> Any:
    """Load what is asked for by name: the rules of this folder are read where no tensor is."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
