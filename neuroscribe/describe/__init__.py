"""Descriptions: of all that was said of a neuron, what it is described by, and how far that explains it.

Holds the choice among explainers on `valid`, the statuses in words, and the rows of DESCRIPTIONS. Imports
evidence, study and score's tables. Not here: any score; how explanations were made or read.
"""
