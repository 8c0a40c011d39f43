"""Explanations: from a neuron's exemplars to text, with what was asked and answered.

Holds the explainers, their prompts and wordings, and what counts as an explanation. Imports evidence and
the LLM layer. Not here: simulators, judges and scores, which know an explanation by its table alone.
"""
