"""Batch samplers for data sets with several fusion tasks."""

from .episode_batch_sampler import EpisodeBatchSampler
from .task_batch_sampler import TaskBatchSampler

__all__ = ['EpisodeBatchSampler', 'TaskBatchSampler']
