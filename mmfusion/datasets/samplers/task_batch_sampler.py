"""Batches of one fusion task each, the tasks in turn."""

from itertools import islice
from typing import Dict, Iterator, List, Optional

import numpy as np
from torch.utils.data import BatchSampler, Sampler

from mmfusion.registry import DATA_SAMPLERS
from mmfusion.utils.errors import InputError

from .task_ranges import endless, task_ranges


@DATA_SAMPLERS.register_module()
class TaskBatchSampler(BatchSampler):
    """Draw batches of one fusion task from a ``FusionTasksDataset``; the tasks take turns in the order of the data set.

    An epoch is one pass over the leading task. The others begin again, in another order, as often as that takes; of a
    task with more samples an epoch shows a part, another one each time. Only the last batch of the leading task may be
    smaller than the others.

    Which samples make which batch depends on (seed, epoch) alone, so a resumed run goes on as it would have. Several
    processes train the same task at the same step, each on a part of its own, with the same number and sizes of
    batches. As with mmengine's ``DefaultSampler``, a few samples come twice in a pass where the number of processes
    does not divide that of the samples.

    Args:
        sampler: A ``DefaultSampler`` over the data set; its seed, epoch, rank and number of processes count, its order
            does not.
        batch_size: Samples of a batch in each process; ``train_dataloader.batch_size`` in a config.
        lead: Name of the leading fusion task; the first of the data set by default.
        batches_per_epoch: Length of an epoch in batches of whatever task, instead of a leading task.
        repeats: Batches in a row when it is a task's turn, by task; 1 where not given.
        drop_last: Leave the last batch of the leading task out if it is smaller.

    Raises:
        TypeError: The data set has no tasks, or the sampler no epochs.
        ValueError: A number is below 1, a name is unknown, ``lead`` stands beside ``batches_per_epoch``, or
            ``drop_last`` leaves no batch.
    """

    def __init__(
        self,
        sampler: Sampler,
        batch_size: int,
        lead: Optional[str] = None,
        batches_per_epoch: Optional[int] = None,
        repeats: Optional[Dict[str, int]] = None,
        drop_last: bool = False,
    ) -> None:
        repeats = dict(repeats or {})
        numbers = {f'repeats[{name!r}]': number for name, number in repeats.items()}
        if batches_per_epoch is not None:
            numbers['batches_per_epoch'] = batches_per_epoch
        self.ranges = task_ranges('TaskBatchSampler', sampler, batch_size=batch_size, **numbers)
        unknown = sorted(({lead} - {None} | set(repeats)) - set(self.ranges))
        if unknown:
            raise ValueError(
                f'TaskBatchSampler: lead and repeats name unknown tasks {unknown}; the data set has {list(self.ranges)}'
            )
        if lead is not None and batches_per_epoch is not None:
            raise ValueError(
                f'TaskBatchSampler: an epoch is a pass over lead={lead!r} or batches_per_epoch={batches_per_epoch}, '
                f'not both'
            )
        self.sampler, self.batch_size, self.drop_last = sampler, int(batch_size), bool(drop_last)
        self.turn = [name for name in self.ranges for _ in range(repeats.get(name, 1))]
        self.lead = None if batches_per_epoch is not None else lead or next(iter(self.ranges))
        self.batches_per_epoch = batches_per_epoch or self._plan_epoch()

    def _plan_epoch(self) -> int:
        """Batches until the leading task is through and the turn complete."""
        samples = -(-len(self.ranges[self.lead]) // self.sampler.world_size)
        self.lead_sizes = [min(self.batch_size, samples - start) for start in range(0, samples, self.batch_size)]
        if self.drop_last and self.lead_sizes[-1] < self.batch_size:
            self.lead_sizes.pop()
        if not self.lead_sizes:
            raise InputError(
                f'TaskBatchSampler: drop_last leaves no batch of task {self.lead!r}, which has {samples} samples in '
                f'each process for batches of {self.batch_size}'
            )
        turns = -(-len(self.lead_sizes) // self.turn.count(self.lead))
        # in the last turn the leading task may have fewer batches left than its repeats
        return turns * (len(self.turn) - self.turn.count(self.lead)) + len(self.lead_sizes)

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch from the next pass on."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        """Batches of an epoch, in each process."""
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[List[int]]:
        """Yield the indices of one batch after the other."""
        streams = {
            name: endless(
                np.random.default_rng([self.sampler.seed, self.sampler.epoch, number]),
                indices,
                self.sampler.rank,
                self.sampler.world_size,
            )
            for number, (name, indices) in enumerate(self.ranges.items())
        }
        left = list(self.lead_sizes) if self.lead else []
        drawn = 0
        while True:
            for name in self.turn:
                if drawn == self.batches_per_epoch:
                    return
                if name == self.lead and not left:
                    continue
                yield list(islice(streams[name], left.pop(0) if name == self.lead else self.batch_size))
                drawn += 1
