"""Fakes and planted subjects, shipped so that others can test against them."""
