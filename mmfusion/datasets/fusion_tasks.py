"""Several fusion data sets side by side, each a task of its own, for meta-learning over them."""
from typing import Any, Dict, List

from mmengine.dataset import BaseDataset, ConcatDataset

from mmfusion.registry import DATASETS

from .base_pair_dataset import hash_ids

TASK_KEY = 'fusion_task'


@DATASETS.register_module()
class FusionTasksDataset(ConcatDataset):
    """Data sets joined under names; every sample says in its metainfo under ``fusion_task`` which it comes from.

    ``EpisodeBatchSampler`` draws batches of one task from it, ``MetaInitCoupling`` learns over the tasks.

    Args:
        tasks: Configs of data sets by name, each with its own pipeline; an identifier without "loss", since losses are logged under it.
        lazy_init: Leave the lists of files unread for now.

    Raises:
        ValueError: There is no task, or a name cannot be logged under.
    """

    def __init__(self, tasks: Dict[str, dict], lazy_init: bool = False) -> None:
        if not tasks:
            raise ValueError('FusionTasksDataset needs at least one data set in `tasks`')
        for name in tasks:
            if not name.isidentifier() or 'loss' in name:
                raise ValueError(f'{name!r} cannot name a fusion task: use an identifier without "loss"')
        self.task_names = tuple(tasks)
        # built here: mmengine's own way would compare their metainfo, and tasks differ in their modalities
        datasets: List[BaseDataset] = [cfg if isinstance(cfg, BaseDataset) else DATASETS.build(cfg) for cfg in tasks.values()]
        super().__init__(datasets, lazy_init=lazy_init, ignore_keys=sorted({key for data in datasets for key in data.metainfo}))
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """List the pairs of all data sets."""
        super().full_init()
        parts = [f'{name}/{part.metainfo.get("split_hash", len(part))}' for name, part in zip(self.task_names, self.datasets)]
        self._metainfo = dict(classes=(), palette=[], modalities=('first', 'second'), fusion_tasks=self.task_names, split_hash=hash_ids(parts))

    def ranges(self) -> Dict[str, range]:
        """Indices of each task's samples, by name."""
        ends = [0, *self.cumulative_sizes]
        return {name: range(start, end) for name, start, end in zip(self.task_names, ends, ends[1:])}

    def __getitem__(self, index: int) -> Any:
        """One sample through the pipeline of its task, named."""
        sample = super().__getitem__(index)
        task, _ = self._get_ori_dataset_idx(index)
        sample['data_samples'].set_metainfo({TASK_KEY: self.task_names[task]})
        return sample
