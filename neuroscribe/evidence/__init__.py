"""Evidence: what later stages know of a neuron, read from the tables of earlier ones.

Holds exemplars and their splits, the sample, the token lookup, what is held against what (controls
included), and simulated values by place. Imports study, text and measures (calibration). Not here: prompts,
models, or any score.
"""
