"""Effects: the subject run with a neuron held at a large activation, and what it then says.

Holds the stage, the strength at which neurons are held, changes of predictions and continuations. Imports
evidence, the subject and, to keep results, the LLM layer's stored calls. Not here: words for what a neuron
does (`explain`), or the score of these words (`choose`, `score`).
"""
