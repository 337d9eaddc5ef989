"""Transforms that load, augment and pack both sources of a pair together."""
from .load_pair import LoadPair
from .packing import PackFusionInputs
from .paired import Paired
from .photometric import PairPhotometric

__all__ = ['LoadPair', 'PackFusionInputs', 'PairPhotometric', 'Paired']
