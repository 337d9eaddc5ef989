"""Medical pairs of the Whole Brain Atlas of Harvard Medical School (K. A. Johnson, J. A. Becker),
https://www.med.harvard.edu/aanlib/.

The layout is that of the collection that comes with CDDFuse (Zhao et al., CVPR 2023), which much of the literature on
medical fusion uses.
"""

import math
from typing import List

from mmfusion.fileio.pairing import PairFiles, index_images, match_pairs, read_id_list
from mmfusion.registry import DATASETS

from .base_pair_dataset import BasePairDataset

TASKS = {'MRI_CT': 'CT', 'MRI_PET': 'PET', 'MRI_SPECT': 'SPECT'}
SPLITS = ('all', 'train', 'test')


@DATASETS.register_module()
class HarvardDataset(BasePairDataset):
    """Brain slices of 256x256 pixels, without labels: MRI beside CT, PET or SPECT. MRI is the first source.

    PET and SPECT are shown in false colors and stored as RGB. A luminance fuser gets their luma beside the gray MRI,
    and their chroma is put back on the fused image, as for visible images; ``LoadPair(color_type='auto')`` loads what
    is gray in three equal channels as one.

    There is no official split. ``split='train'`` and ``'test'`` are ours: the slices in the order of their numbers, the
    last ``test_share`` of them (rounded up) for test. Slices of one patient follow each other, so the one cut runs
    through one patient at most.

    Args:
        task: ``'MRI_CT'``, ``'MRI_PET'`` or ``'MRI_SPECT'``: the folder below ``data_root``, whose hyphens may be
            underscores and whose case is free.
        split: ``'all'``, ``'train'`` or ``'test'``.
        test_share: Share of the pairs for test, between 0 and 1.
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` keys: ``first``, ``second``. An ``ann_file`` takes the
            place of ``split``.

    Raises:
        ValueError: The task or the split is unknown, the share is out of range, or both a split and an id list are
            given.
    """

    LAYOUT = """    Harvard/
      MRI_CT/{MRI,CT}/11.png ...
      MRI_PET/{MRI,PET}/11.png ...
      MRI_SPECT/{MRI,SPECT}/11.png ..."""

    def __init__(self, *args, task: str = 'MRI_CT', split: str = 'all', test_share: float = 0.2, **kwargs) -> None:
        if task not in TASKS:
            raise ValueError(f'HarvardDataset: task must be one of {list(TASKS)}, got {task!r}')
        if split not in SPLITS:
            raise ValueError(f'HarvardDataset: split must be one of {SPLITS}, got {split!r}')
        if not 0 < test_share < 1:
            raise ValueError(f'HarvardDataset: test_share must lie between 0 and 1, got {test_share}')
        if split != 'all' and kwargs.get('ann_file'):
            raise ValueError(f"HarvardDataset: ann_file names the pairs, so leave split='all'; got split={split!r}")
        self.task, self.split, self.test_share = task, split, test_share
        other = TASKS[task]
        self.FOLDERS = {
            key: tuple(f'{folder}/{modality}' for folder in (task, task.replace('_', '-')))
            for key, modality in (('first', 'MRI'), ('second', other))
        }
        metainfo = {'modalities': ('MRI', other), **(kwargs.pop('metainfo', None) or {})}
        super().__init__(*args, metainfo=metainfo, **kwargs)

    def list_pairs(self) -> List[PairFiles]:
        """List the slices of the split in the order of their numbers, or those of the id list."""
        first, second = (index_images(self.folder(key)) for key in ('first', 'second'))
        if self.ann_file:
            return match_pairs(first, second, read_id_list(self.ann_file))
        pairs = sorted(match_pairs(first, second), key=_by_number)
        cut = len(pairs) - math.ceil(round(len(pairs) * self.test_share, 6))
        return dict(all=pairs, train=pairs[:cut], test=pairs[cut:])[self.split]


def _by_number(pair: PairFiles) -> tuple:
    """Sort 9 before 10, and names without a number behind those with one."""
    digits = ''.join(character for character in pair.stem if character.isdigit())
    return not digits, int(digits or 0), pair.stem
