"""A trace: everything behind one neuron's score, from the description back to text, weights and code.

Holds the tree of what is known, how it is read off a layer's tables and the stored calls, its text, and the
command that prints it. Imports what explainers ask, the evidence and the lineage. Not here: Dagster's
history, which whoever asks hands in.
"""
