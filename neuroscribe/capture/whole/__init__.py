"""All activations of a layer, kept in blocks of sequences, of which one neuron or one sequence is read alone.

A layer is a folder of safetensors files, one for every `block` consecutive sequences. Their tensor `values`
is [neuron, sequence, token]: what one neuron did in a block lies in one piece. The layout is shown in
`docs/whole_activations.md`.
"""

from neuroscribe.capture.whole.reading import is_whole as is_whole
from neuroscribe.capture.whole.reading import neuron_activations as neuron_activations
from neuroscribe.capture.whole.reading import sequence_activations as sequence_activations
from neuroscribe.capture.whole.reading import stored_sequences as stored_sequences
