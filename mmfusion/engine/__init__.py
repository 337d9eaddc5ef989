"""Hooks, loops, optimizer wrappers and constructors."""
from .hooks import EpochSeedHook, FusionVisualizationHook, StopAfterHook, TaskWeightHook, seed_worker
from .optim_wrappers import BFloat16OptimWrapper

__all__ = ['BFloat16OptimWrapper', 'EpochSeedHook', 'FusionVisualizationHook', 'StopAfterHook', 'TaskWeightHook', 'seed_worker']
