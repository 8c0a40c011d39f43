"""Tables: every column of every table, declared once, and the bytes in which tables are kept.

Holds the column types, the records of all stages, the scales of histograms, and Parquet with its stamps.
Imports errors and fingerprints alone. Not here: what a row means for a stage, or where files lie
(`resources/store`).
"""
