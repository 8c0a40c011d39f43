"""Reports: what people look at while and after a study runs, in the terminal and beside an asset.

Holds the plan, the ledger, tallies, summaries, excerpts and pictures. Imports every stage whose work it
tells of; nothing but the assets and the commands imports it. Not here: anything that a result depends on.
"""
