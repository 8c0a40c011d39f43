"""Ablations: the subject run with a neuron replaced by what an explanation lets one predict.

Holds the stage and the divergence of predictions. Imports evidence, measures, the subject and, to keep
results, the LLM layer's stored calls. Not here: how the simulated values were made, or the score that
follows from the divergences (`score`).
"""
