"""Hooks, loops, optimizer wrappers and constructors."""
from .hooks import EpochSeedHook, FusionVisualizationHook, ProgressBarHook, StopAfterHook, TaskWeightHook, seed_worker
from .optim_wrappers import BFloat16OptimWrapper

__all__ = ['BFloat16OptimWrapper', 'EpochSeedHook', 'FusionVisualizationHook', 'ProgressBarHook', 'StopAfterHook', 'TaskWeightHook', 'seed_worker']
