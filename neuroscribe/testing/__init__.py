"""Fakes and planted subjects, shipped so that others can test against them.

Holds models whose neurons are known, scripted servers, stores in memory, and a clock that jumps. Imports
anything of the core. Not here: tests; and no product code imports it.
"""
