"""Optimizer wrappers and their constructors."""

from .bfloat16 import BFloat16OptimWrapper
from .clip import ClipByPart, clip_by_part
from .part_wrapper import PartOptimWrapper
from .parts import PartOptimWrapperConstructor
from .trainable import TrainableOptimWrapperConstructor

__all__ = [
    'BFloat16OptimWrapper',
    'ClipByPart',
    'PartOptimWrapper',
    'PartOptimWrapperConstructor',
    'TrainableOptimWrapperConstructor',
    'clip_by_part',
]
