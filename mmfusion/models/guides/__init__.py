"""Guides: networks that yield guidance for a fuser."""

from .attention import CrossModalAttention
from .two_stream import TwoStreamGuide

__all__ = ['CrossModalAttention', 'TwoStreamGuide']
