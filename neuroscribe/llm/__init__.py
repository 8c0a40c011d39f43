"""Language models, whoever serves them: asking once, what a model can do, and what an answer may be instead.

Holds stored calls, capabilities, faults, log-probabilities, JSON answers, and a model in this process.
Imports the ports. Not here: what is asked (`explain`, `simulate`, `judge`), or the way to a server
(`resources/llm`).
"""
