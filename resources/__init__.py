"""Adapters to the outside: a module or folder per outside thing, fulfilling ports of the core."""
