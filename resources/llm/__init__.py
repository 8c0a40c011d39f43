"""Language models behind servers: the way there, its limits, its faults, and what it costs.

Holds the server as the core's ports see it, transport with retries, pacing and budget, wire forms, batch
jobs and prices. Imports the core's ports. Not here: prompts, or what counts as an explanation.
"""
