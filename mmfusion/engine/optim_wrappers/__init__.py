"""Optimizer wrappers and their constructors."""
from .bfloat16 import BFloat16OptimWrapper
from .parts import PartOptimWrapperConstructor

__all__ = ['BFloat16OptimWrapper', 'PartOptimWrapperConstructor']
