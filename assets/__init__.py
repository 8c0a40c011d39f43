"""The graph: one module per stage, each asset a few lines over one function of the core."""
