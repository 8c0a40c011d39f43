"""Adapters to the outside: one module per outside thing, each fulfilling a port of the core."""
