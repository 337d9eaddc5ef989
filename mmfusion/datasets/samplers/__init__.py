"""Which samples make a batch."""
from .episode_batch_sampler import EpisodeBatchSampler

__all__ = ['EpisodeBatchSampler']
