"""Hooks, loops, optimizer wrappers and constructors."""

from .hooks import (
    EpochSeedHook,
    FusionVisualizationHook,
    LossWeightVisualizationHook,
    ProgressBarHook,
    RuntimeInfoHook,
    StopAfterHook,
    TaskWeightHook,
    seed_worker,
)
from .loops import CouplingTrainLoop, MetaInitLoop, MetaTrainLoop, SearchTrainLoop
from .optim_wrappers import (
    BFloat16OptimWrapper,
    PartOptimWrapper,
    PartOptimWrapperConstructor,
    TrainableOptimWrapperConstructor,
)

__all__ = [
    'BFloat16OptimWrapper',
    'CouplingTrainLoop',
    'EpochSeedHook',
    'FusionVisualizationHook',
    'LossWeightVisualizationHook',
    'MetaInitLoop',
    'MetaTrainLoop',
    'PartOptimWrapper',
    'PartOptimWrapperConstructor',
    'ProgressBarHook',
    'RuntimeInfoHook',
    'SearchTrainLoop',
    'StopAfterHook',
    'TaskWeightHook',
    'TrainableOptimWrapperConstructor',
    'seed_worker',
]
