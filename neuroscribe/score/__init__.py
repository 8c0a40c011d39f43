"""Scores: what each explanation is worth, by every measure that the study is due, with ceiling and control.

Holds the rows of the table of scores and the rules that they must keep. Imports evidence, measures and the
simulators that cost nothing. Not here: how the values of the others were made; simulations, judgements and
ablations come in as tables.
"""
