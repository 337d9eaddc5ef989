"""Conversion of checkpoints of the official programs: one command for each method."""

from .main import convert as main

__all__ = ['main']
