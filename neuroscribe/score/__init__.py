"""Scores: what each explanation is worth, by every measure that the study is due, with ceiling and control.

Holds the rows of the table of scores and the rules that they must keep. Imports evidence and measures. Not
here: how the values that are scored were made; simulations, judgements and ablations come in as tables.
"""
