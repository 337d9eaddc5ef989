"""Hooks, loops, optimizer wrappers and constructors."""
from .hooks import EpochSeedHook, FusionVisualizationHook, LossWeightVisualizationHook, ProgressBarHook, StopAfterHook, TaskWeightHook, seed_worker
from .loops import MetaTrainLoop
from .optim_wrappers import BFloat16OptimWrapper, PartOptimWrapperConstructor

__all__ = [
    'BFloat16OptimWrapper', 'EpochSeedHook', 'FusionVisualizationHook', 'LossWeightVisualizationHook', 'MetaTrainLoop', 'PartOptimWrapperConstructor',
    'ProgressBarHook', 'StopAfterHook', 'TaskWeightHook', 'seed_worker'
]
