"""Models and pinned files on this machine: where they come from, and how they are loaded.

Holds artefacts with their pins and licences, conversion, weights, the subject and the sentence encoder.
Imports the core's ports. Not here: servers (`resources/llm`).
"""
