"""Explanations: from a neuron's exemplars to text, with what was asked and answered."""
