"""The store: a folder or bucket in which tables, tensors, calls and datasets are kept, each write atomic.

Holds one adapter a kind of file, over `files`. Imports the core's tables and ports. Not here: what the
files say.
"""
