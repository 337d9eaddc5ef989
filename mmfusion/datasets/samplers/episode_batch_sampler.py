"""Batches of episodes: some fusion tasks, and of each enough pairs for a few training steps and a judgment."""

from itertools import islice
from typing import Iterator, List

import numpy as np
from torch.utils.data import BatchSampler, Sampler

from mmfusion.registry import DATA_SAMPLERS

from .task_ranges import endless, task_ranges


@DATA_SAMPLERS.register_module()
class EpisodeBatchSampler(BatchSampler):
    """Draw episodes from a ``FusionTasksDataset``, for ``MetaInitCoupling``.

    An episode is ``(inner_steps + 1) * batch_size`` pairs of one fusion task, drawn without repetition as long as the
    task has enough; the last ``batch_size`` of them judge. A batch has ``tasks_per_batch`` episodes of different tasks.
    Every task has its turn equally often, whatever the number of its pairs, in an order drawn anew each round. All
    depends on (seed, epoch, rank) alone, and processes draw different episodes.

    Args:
        sampler: A ``DefaultSampler`` over the data set; its seed, epoch, rank and number of processes count.
        batch_size: Pairs of each inner step; ``train_dataloader.batch_size`` in a config.
        inner_steps: Steps of an episode, those of the coupling.
        tasks_per_batch: Episodes of a batch, at most the number of fusion tasks.
        batches_per_epoch: Length of an epoch.

    Raises:
        TypeError: The data set has no tasks, or the sampler no epochs.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        sampler: Sampler,
        batch_size: int,
        inner_steps: int = 5,
        tasks_per_batch: int = 1,
        batches_per_epoch: int = 50,
    ) -> None:
        self.ranges = task_ranges(
            'EpisodeBatchSampler', sampler, batch_size=batch_size, batches_per_epoch=batches_per_epoch
        )
        if inner_steps < 0:
            raise ValueError(f'EpisodeBatchSampler: inner_steps must be at least 0, got {inner_steps}')
        if not 1 <= tasks_per_batch <= len(self.ranges):
            raise ValueError(
                f'EpisodeBatchSampler: tasks_per_batch must lie in 1...{len(self.ranges)}, the number of tasks, '
                f'got {tasks_per_batch}'
            )
        self.sampler, self.batch_size, self.drop_last = sampler, int(batch_size), False
        self.inner_steps, self.tasks_per_batch, self.batches_per_epoch = (
            int(inner_steps),
            int(tasks_per_batch),
            int(batches_per_epoch),
        )

    def __len__(self) -> int:
        """Batches of an epoch, in each process."""
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[List[int]]:
        """Yield the indices of one batch after the other."""
        rng = np.random.default_rng([self.sampler.seed, self.sampler.epoch, self.sampler.rank])
        waiting: List[str] = []
        for _ in range(self.batches_per_epoch):
            tasks: List[str] = []
            while len(tasks) < self.tasks_per_batch:
                if not any(name not in tasks for name in waiting):
                    waiting += rng.permutation(list(self.ranges)).tolist()
                name = next(name for name in waiting if name not in tasks)
                waiting.remove(name)
                tasks.append(name)
            yield [index for name in tasks for index in self._draw(rng, self.ranges[name])]

    def _draw(self, rng: np.random.Generator, indices: range) -> List[int]:
        return list(islice(endless(rng, indices), (self.inner_steps + 1) * self.batch_size))
