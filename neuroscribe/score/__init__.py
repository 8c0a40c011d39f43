"""Scores: agreement of simulated and true activations."""
