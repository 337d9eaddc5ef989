"""Several fusion data sets side by side, each a fusion task of its own."""

from typing import Any, Dict, List, Sequence, Union

from mmengine.dataset import BaseDataset, ConcatDataset

from mmfusion.registry import DATASETS
from mmfusion.structures import TASK_KEY
from mmfusion.utils.renamed import renamed

from .base_pair_dataset import hash_ids


@DATASETS.register_module()
class FusionTasksDataset(ConcatDataset):
    """Data sets joined under names; every sample says in its metainfo under ``fusion_task`` which it comes from.

    ``TaskBatchSampler`` and ``EpisodeBatchSampler`` draw batches of one fusion task from it, ``MetaInitCoupling``
    learns over all.

    Args:
        fusion_tasks: Configs of data sets by name, each with its own pipeline; a list of configs where several sets
            make a fusion task. A name is an identifier without "loss", since losses are logged under it.
        lazy_init: Leave the lists of files unread for now.

    Raises:
        TypeError: A fusion task is a wrapper of data sets instead of a list of them.
        ValueError: There is no fusion task, one has no data set, or a name cannot be logged under.
    """

    @renamed('FusionTasksDataset', tasks='fusion_tasks')
    def __init__(self, fusion_tasks: Dict[str, Union[dict, Sequence[dict]]], lazy_init: bool = False) -> None:
        if not fusion_tasks:
            raise ValueError('FusionTasksDataset needs at least one data set in `fusion_tasks`')
        datasets: List[BaseDataset] = []
        self.owners: List[int] = []  # number of the task that each data set belongs to
        for number, (name, parts) in enumerate(fusion_tasks.items()):
            if not name.isidentifier() or 'loss' in name:
                raise ValueError(f'{name!r} cannot name a fusion task: use an identifier without "loss"')
            # built here: mmengine's own way would compare their metainfo, and tasks differ in their modalities
            parts = [
                part if isinstance(part, BaseDataset) else DATASETS.build(part)
                for part in (parts if isinstance(parts, (list, tuple)) else [parts])
            ]
            for part in parts:
                if not isinstance(part, BaseDataset):
                    raise TypeError(
                        f'FusionTasksDataset: task {name!r} has a {type(part).__name__}; give data sets, '
                        f'or a list of them to join'
                    )
            if not parts:
                raise ValueError(f'FusionTasksDataset: the list of data sets of task {name!r} is empty')
            datasets += parts
            self.owners += [number] * len(parts)
        self.task_names = tuple(fusion_tasks)
        super().__init__(
            datasets, lazy_init=lazy_init, ignore_keys=sorted({key for data in datasets for key in data.metainfo})
        )
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """List the pairs of all data sets."""
        super().full_init()
        parts = [
            f'{self.task_names[owner]}/{part.metainfo.get("split_hash", len(part))}'
            for owner, part in zip(self.owners, self.datasets)
        ]
        self._metainfo = dict(
            classes=(),
            palette=[],
            modalities=('first', 'second'),
            fusion_tasks=self.task_names,
            split_hash=hash_ids(parts),
        )

    def ranges(self) -> Dict[str, range]:
        """Indices of each task's samples, by name."""
        ranges: Dict[str, range] = {}
        for owner, start, end in zip(self.owners, [0, *self.cumulative_sizes], self.cumulative_sizes):
            name = self.task_names[owner]
            ranges[name] = range(ranges[name].start if name in ranges else start, end)
        return ranges

    def __getitem__(self, index: int) -> Any:
        """One sample through the pipeline of its task, named."""
        sample = super().__getitem__(index)
        part, _ = self._get_ori_dataset_idx(index)
        sample['data_samples'].set_metainfo({TASK_KEY: self.task_names[self.owners[part]]})
        return sample
