"""Transforms that load, augment and pack both sources of a pair together."""

from .load_class_map import LoadClassMap
from .load_fused import LoadFused
from .load_pair import LoadPair
from .packing import PackFusionInputs
from .paired import Paired
from .photometric import PairPhotometric
from .random_resized_crop import RandomResizedCrop
from .register import Register

__all__ = [
    'LoadClassMap',
    'LoadFused',
    'LoadPair',
    'PackFusionInputs',
    'PairPhotometric',
    'Paired',
    'RandomResizedCrop',
    'Register',
]
