"""The subject: the model under study, and where in it the neurons are read.

Holds the kinds of units that can be its neurons, the facts of architectures, the weights around a neuron,
and the hooks and the compilation that hand over activations. Imports the study's section about it, and the
text's facts of tokenizers. Not here: what is kept of activations (`capture`).
"""
