"""MFNet: Towards Real-Time Semantic Segmentation for Autonomous Vehicles with Multi-Spectral Scenes (Ha et al., IROS
2017),
https://www.mi.t.u-tokyo.ac.jp/static/projects/mil_multispectral/."""

import os
from typing import List, Optional

from mmfusion.fileio.pairing import PairFiles, index_images, match_pairs, read_id_list
from mmfusion.registry import DATASETS
from mmfusion.utils.errors import MissingFileError

from .seg_pair_dataset import SegPairDataset

MFNET_CLASSES = ('unlabelled', 'car', 'person', 'bike', 'curve', 'car_stop', 'guardrail', 'color_cone', 'bump')
MFNET_PALETTE = [
    (0, 0, 0),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
    (0, 0, 192),
    (128, 128, 0),
    (64, 64, 128),
    (192, 128, 128),
    (192, 64, 0),
]


@DATASETS.register_module()
class MFNetDataset(SegPairDataset):
    """MFNet: 1569 images of 640x480 with four channels (RGB and thermal) and class maps of 9 classes.

    784 are for training, 392 for validation, 393 for test. The thermal image is the alpha channel of the png file;
    :class:`LoadPair` takes the two apart.

    Protocol: number 0, ``unlabelled``, is the background, trained and counted as a class as published results do: the
    mean is over 9 classes. ``ignore_background=True`` (here, or in ``SegIoUMetric`` alone) gives the mean over 8.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``, the list that chooses the images; the official ``'test_day'`` and
            ``'test_night'`` too.
        ann_file: Another list, relative to ``data_root``; ``'{split}.txt'`` by default, all images when empty.
        kwargs: See :class:`SegPairDataset`. ``data_prefix`` keys: ``first`` (the images), ``seg``.
    """

    METAINFO = dict(
        classes=(), palette=[], seg_classes=MFNET_CLASSES, seg_palette=MFNET_PALETTE, modalities=('visible', 'infrared')
    )
    FOLDERS = dict(first=('images',), seg=('labels',))
    LAYOUT = """    MFNet/
      images/00001D.png ...      four channels: RGB and thermal
      labels/00001D.png ...
      train.txt, val.txt, test.txt"""

    def __init__(self, *args, split: str = 'train', ann_file: Optional[str] = None, **kwargs) -> None:
        super().__init__(*args, split=split, ann_file=f'{split}.txt' if ann_file is None else ann_file, **kwargs)

    def list_pairs(self) -> List[PairFiles]:
        """List the images of the split; both sources are one file."""
        images = index_images(self.folder('first'))
        self._class_maps = self.index_class_maps()
        return match_pairs(images, images, self._read_ids() if self.ann_file else None)

    def _read_ids(self) -> List[str]:
        if not os.path.isfile(self.ann_file):
            raise MissingFileError(
                f'{type(self).__name__}: no id list {self.ann_file}. Expected layout:\n{self.LAYOUT}\n'
                "Set split or ann_file; ann_file='' takes all images."
            )
        return read_id_list(self.ann_file)

    def _describe(self, pair: PairFiles) -> dict:
        return dict(super()._describe(pair), second_channel='alpha')
