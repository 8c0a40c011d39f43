"""Secrets: keys and passwords, found in texts in any spelling and in addresses, and hidden there.

Holds what is known to be secret in this process, and what hides it in messages. Imports nothing of the core,
so that every error can go through it. Not here: where keys are read (`dagster_project/environments.py`), and
to whom they are sent (`resources/llm`).
"""
