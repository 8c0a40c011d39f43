"""Kinds of units: what a "neuron" of a study is, where it is read and replaced, and its weights.

One module per kind; `unit.py` says what a kind answers, `kinds.py` lists those that a study can name.
"""
