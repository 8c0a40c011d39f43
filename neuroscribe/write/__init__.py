"""Sentences written from an explanation, by an LLM or by templates, and what the neuron does on them.

Holds the prompt, the frames, the reading of lists and the run of the subject on sentences. Imports evidence,
the subject and the LLM layer. Not here: what the sentences add up to (`score`).
"""
