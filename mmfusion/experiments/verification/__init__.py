"""Checking a result against its manifest."""

from .verify import Finding, Verification, format_verification, verify

__all__ = ['Finding', 'Verification', 'format_verification', 'verify']
