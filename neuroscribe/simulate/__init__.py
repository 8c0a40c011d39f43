"""Simulations: activations predicted from an explanation alone."""
