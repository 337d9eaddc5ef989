"""Hooks, loops and optimizer constructors."""
from .hooks import EpochSeedHook, FusionVisualizationHook, StopAfterHook, TaskWeightHook, seed_worker

__all__ = ['EpochSeedHook', 'FusionVisualizationHook', 'StopAfterHook', 'TaskWeightHook', 'seed_worker']
