"""The study: all that a person can write into a study file, how it is refused, and what follows from it.

Holds the settings of every part, the reading of files, the scores that are due, and the stages with their
identities. Imports tables and measures by name. Not here: anything that runs; a study is data.
"""
