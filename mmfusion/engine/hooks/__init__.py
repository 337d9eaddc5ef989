"""Hooks of the runner."""

from .architecture_hook import ArchitectureHook
from .checkpoint_hook import CheckpointHook, use_whole_checkpoints
from .data_split_hook import DataSplitHook
from .ema_hook import EMAHook
from .epoch_seed_hook import EpochSeedHook, seed_worker
from .first_loss_hook import FIRST_LOSS, FirstLossHook
from .fusion_visualization_hook import FusionVisualizationHook
from .loss_weight_visualization_hook import LossWeightVisualizationHook
from .progress_bar_hook import ProgressBarHook
from .runtime_info_hook import RuntimeInfoHook, iterations_per_epoch
from .stop_after_hook import StopAfterHook
from .sync_learned_buffers_hook import SyncLearnedBuffersHook
from .task_weight_hook import TaskWeightHook

__all__ = [
    'FIRST_LOSS',
    'ArchitectureHook',
    'CheckpointHook',
    'DataSplitHook',
    'EMAHook',
    'EpochSeedHook',
    'FirstLossHook',
    'FusionVisualizationHook',
    'LossWeightVisualizationHook',
    'ProgressBarHook',
    'RuntimeInfoHook',
    'StopAfterHook',
    'SyncLearnedBuffersHook',
    'TaskWeightHook',
    'iterations_per_epoch',
    'seed_worker',
    'use_whole_checkpoints',
]
