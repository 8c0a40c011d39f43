"""Text: documents as sequences of tokens, tokens as exact bytes, and bytes as characters that do no harm.

Holds the corpus, token bytes, escaping, and the spans of tokens in a text. Imports the study and tables.
Not here: where text comes from (`resources/texts.py`), or what any neuron does on it.
"""
