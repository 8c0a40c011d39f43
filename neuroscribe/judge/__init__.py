"""Judgements: whether single excerpts fit an explanation, asked of an LLM or of a sentence encoder."""
