"""Choices: which of several options is meant, asked of an LLM or of a sentence encoder.

Holds the choosing scorers, their options, the prompts and the judges. Imports evidence and the LLM layer. Not
here: what the choices add up to (`score`), or how a neuron was amplified (`effect`).
"""
