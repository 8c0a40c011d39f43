"""Simulations: activations predicted from an explanation alone.

Holds the simulators, their prompts and the reading of their answers. Imports evidence and the LLM layer.
Not here: the true activations, but for stopping early; agreement with them is `score`.
"""
