"""Which samples make a batch."""
from .episode_batch_sampler import EpisodeBatchSampler
from .task_batch_sampler import TaskBatchSampler

__all__ = ['EpisodeBatchSampler', 'TaskBatchSampler']
