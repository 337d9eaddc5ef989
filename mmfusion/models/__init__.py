"""Everything that is built from the ``MODELS`` registry: importing this package registers it."""

from . import couplings, data_preprocessors, fusers, guides, layers, losses, weight_init

__all__ = ['couplings', 'data_preprocessors', 'fusers', 'guides', 'layers', 'losses', 'weight_init']
