"""Judgements: whether single excerpts fit an explanation, asked of an LLM or of a sentence encoder.

Holds the choice of excerpts, the prompts, the judges and the reading of their answers. Imports evidence and
the LLM layer. Not here: what judgements add up to (`score`).
"""
