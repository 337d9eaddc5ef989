"""Research procedures on top of the library, and how they know their own results again."""

from .identity import claim, data_identity, run_identity, section_sha256

__all__ = ['claim', 'data_identity', 'run_identity', 'section_sha256']
