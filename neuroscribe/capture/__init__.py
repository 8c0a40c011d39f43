"""Capture: one pass of the corpus through the subject, keeping of every neuron what the study needs."""

from neuroscribe.capture.run import Checkpoints as Checkpoints
from neuroscribe.capture.run import capture as capture
from neuroscribe.capture.state import CapturePlan as CapturePlan
from neuroscribe.capture.state import LayerState as LayerState
