"""Ports: all protocols between the core and the outside, and the values that cross them.

Holds models, sources, stores, checks, and replies. Imports only what those values are made of. Not here:
anyone who fulfils a port, but for the progress that shows nothing; adapters are in `resources`, fakes in
`testing`.
"""
