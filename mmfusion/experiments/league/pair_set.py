"""A set of pairs as a league sees it: names, sizes, sources, labels, and what tells it from another set."""

import copy
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import Tensor

from mmfusion.datasets.transforms import LoadPair
from mmfusion.experiments.identity import data_identity
from mmfusion.fileio.image_reading import read_size
from mmfusion.registry import DATASETS, build_configured

from .settings import Pairs

#: How sources are read for every method: color where the first one has it, infrared as one channel.
LOAD = dict(color_type=dict(first='color', second='grayscale'))


class PairSet:
    """The pairs of one set.

    Args:
        pairs: What the config says of it.

    Attributes:
        names: Names of the pairs, in the order of the data set.
        sizes: (height, width) of each.
        meta: Meta information of the data set (``classes``, ``modalities``).

    Raises:
        FileNotFoundError: Its files are not there.
        PairDataError: A pair cannot be used.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.dataset = build_configured(DATASETS, dict(copy.deepcopy(pairs.dataset), pipeline=[], test_mode=True))
        self.meta = dict(getattr(self.dataset, 'metainfo', {}))
        self._items = [self.dataset.get_data_info(index) for index in range(len(self.dataset))]
        self.names = [str(item['sample_id']) for item in self._items]
        self.sizes = [self._size(item) for item in self._items]
        self._load = LoadPair(**LOAD)

    def __len__(self) -> int:
        return len(self.names)

    @staticmethod
    def _size(item: dict) -> Tuple[int, int]:
        if 'first' in item:
            return tuple(item['first'].shape[:2])
        if item.get('height') and item.get('width'):
            return int(item['height']), int(item['width'])
        return read_size(item['first_path'])

    def only(self, names: Sequence[str]) -> 'PairSet':
        """The same set with some of its pairs."""
        part, chosen = copy.copy(self), [self.names.index(name) for name in names]
        part.names, part.sizes, part._items = (
            [values[index] for index in chosen] for values in (self.names, self.sizes, self._items)
        )
        return part

    def item(self, index: int) -> dict:
        """What the data set says of a pair, with both sources as arrays."""
        return self._load(copy.deepcopy(self._items[index]))

    def bare_item(self, index: int) -> dict:
        """The same without its sources, for a picture to take their place."""
        item = copy.deepcopy(self._items[index])
        for key in ('first', 'second', 'first_path', 'second_path', 'first_channel', 'second_channel'):
            item.pop(key, None)
        return item

    def sources(self, index: int) -> List[Tensor]:
        """Both sources as metrics take them, (1, C, H, W) RGB or gray."""
        item = self.item(index)
        return [to_batch(item[source]) for source in ('first', 'second')]

    @property
    def modalities(self) -> Tuple[str, str]:
        """What the two sources are called."""
        return tuple(self.meta.get('modalities') or ('first source', 'second source'))

    @property
    def has_boxes(self) -> bool:
        """Whether any pair is annotated with boxes."""
        return any(item.get('instances') for item in self._items)

    @property
    def has_maps(self) -> bool:
        """Whether the pairs have class maps."""
        return 'seg_map_path' in self._items[0] or 'gt_seg_map' in self._items[0]

    def identity(self) -> Dict[str, object]:
        """Number of pairs, hash of their names, and hash of names, labels and sizes of files."""
        if isinstance(self.dataset, BaseDataset):
            return data_identity(Config(dict(test_dataloader=dict(dataset=copy.deepcopy(dict(self.pairs.dataset))))))[
                'test'
            ]
        return dict(pairs=len(self), names=self.names)


def to_batch(image: np.ndarray) -> Tensor:
    """(H, W, C) BGR or gray to (1, C, H, W) RGB or gray."""
    image = image[..., ::-1] if image.shape[2] == 3 else image
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).unsqueeze(0)
