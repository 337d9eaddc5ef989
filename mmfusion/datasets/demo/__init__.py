"""Data sets whose pairs are rendered from a seed."""
