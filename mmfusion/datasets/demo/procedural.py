"""Base of the data sets that are rendered from a seed."""

from typing import List, Sequence, Tuple

import numpy as np
from mmengine.dataset import BaseDataset

SPLITS = ('train', 'val', 'test')


class ProceduralPairs(BaseDataset):
    """Pairs rendered when they are asked for: no files, no download.

    Pair ``index`` of a split depends on ``seed``, the split's name and ``index`` alone, whatever the process, the
    worker or the order; the splits share none. A subclass renders from :meth:`generator` and completes the items in
    ``get_data_info``.

    Attributes:
        STREAM: Numbers that tell the random numbers of one kind of pairs from those of another.

    Args:
        length: Number of pairs.
        size: (height, width), at least 64x64.
        seed: Seed of the whole set.
        split: ``'train'``, ``'val'`` or ``'test'``.
        kwargs: ``pipeline``, ``test_mode``, ``indices``, ... of :class:`mmengine.dataset.BaseDataset`.

    Raises:
        ValueError: An argument is out of range.
    """

    METAINFO = dict(classes=(), palette=[], modalities=('first', 'second'))
    STREAM: Tuple[int, ...] = ()

    def __init__(
        self, length: int = 200, size: Sequence[int] = (128, 160), seed: int = 0, split: str = 'train', **kwargs
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {list(SPLITS)}, got {split!r}')
        if length < 1 or len(size) != 2 or min(size) < 64 or seed < 0:
            raise ValueError(
                f'{type(self).__name__} needs length >= 1, size of at least (64, 64) and seed >= 0; '
                f'got length={length}, size={size}, seed={seed}'
            )
        self.length, self.size, self.seed, self.split = int(length), tuple(int(side) for side in size), int(seed), split
        kwargs.setdefault(
            'serialize_data', False
        )  # the list holds names only; serializing would run the garbage collector
        super().__init__(**kwargs)
        kind = '-'.join(['demo', *map(str, self.STREAM)])
        self._metainfo['split_hash'] = f'{kind}-seed{self.seed}-{split}-{self.length}'

    def load_data_list(self) -> List[dict]:
        """Name the pairs; they are rendered when they are asked for."""
        return [dict(img_id=index, sample_id=f'{self.split}_{index:05d}') for index in range(self.length)]

    def generator(self, index: int) -> np.random.Generator:
        """The random numbers of one pair."""
        key = np.random.SeedSequence(self.seed, spawn_key=(SPLITS.index(self.split), index, *self.STREAM))
        return np.random.Generator(np.random.PCG64(key))
