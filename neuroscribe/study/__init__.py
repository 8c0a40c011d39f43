"""The study: all that a person can write into a study file, how it is refused, and what follows from it.

Holds the settings of every part, the reading of files, the scores that are due, the stages with their
identities, and the chain of stamps that ties stored tables to them. Imports tables; measures are known by
name alone. Not here: anything that runs; a study is data.
"""
