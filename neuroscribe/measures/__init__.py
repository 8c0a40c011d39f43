"""Measures: how well two rows of numbers agree, and how sure that is.

Holds correlation and its kin, shares of right answers, intervals, and calibrations: arrays in, numbers out.
Imports nothing of the core. Not here: tables, names of scorers, or what is held against what (`score`).
"""
