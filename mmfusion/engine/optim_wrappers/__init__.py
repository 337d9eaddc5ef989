"""Optimizer wrappers and their constructors."""
from .bfloat16 import BFloat16OptimWrapper
from .parts import PartOptimWrapperConstructor
from .trainable import TrainableOptimWrapperConstructor

__all__ = ['BFloat16OptimWrapper', 'PartOptimWrapperConstructor', 'TrainableOptimWrapperConstructor']
