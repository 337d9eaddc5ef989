"""FMB: Multi-interactive Feature Learning and a Full-time Multi-modality Benchmark for Image Fusion and Segmentation
(SegMIF, Liu et al., ICCV 2023),
https://github.com/JinyuanLiu-CV/SegMiF."""

from mmfusion.registry import DATASETS

from .seg_pair_dataset import SegPairDataset


@DATASETS.register_module()
class FMBDataset(SegPairDataset):
    """FMB with its official layout: 1220 pairs for training, 280 for test, 800x600, 14 classes and number 0 for what
    has none.

    Protocol: two are published. Number 0, here ``unlabelled``, trained and counted as a class: 15 classes, the default
    here. Or it is left out of training and mean: 14 classes, ``ignore_background=True``. The two means cannot be
    compared; say which one a figure is. With the default, ``SegIoUMetric(ignore_background=True)`` leaves number 0 out
    of the mean alone.

    Args:
        kwargs: See :class:`SegPairDataset`; ``split`` is ``'train'`` or ``'test'``. ``data_prefix`` keys: ``first``,
            ``second``, ``seg``.
    """

    METAINFO = dict(
        classes=(),
        palette=[],
        seg_classes=(
            'unlabelled',
            'road',
            'sidewalk',
            'building',
            'traffic_light',
            'traffic_sign',
            'vegetation',
            'sky',
            'person',
            'car',
            'truck',
            'bus',
            'motorcycle',
            'bicycle',
            'pole',
        ),
        seg_palette=[
            (0, 0, 0),
            (179, 228, 228),
            (181, 57, 133),
            (67, 162, 177),
            (200, 178, 50),
            (132, 45, 199),
            (66, 172, 84),
            (179, 73, 79),
            (76, 99, 166),
            (66, 121, 253),
            (137, 165, 91),
            (155, 97, 152),
            (105, 153, 140),
            (222, 215, 158),
            (135, 113, 90),
        ],
        modalities=('visible', 'infrared'),
    )
    FOLDERS = dict(
        first=('{split}/Visible', '{split}/vi', '{split}/vis'),
        second=('{split}/Infrared', '{split}/ir'),
        seg=('{split}/Label', '{split}/Labels'),
    )
    LAYOUT = """    FMB/
      {train,test}/Visible/00001.png ...
      {train,test}/Infrared/00001.png ...
      {train,test}/Label/00001.png ..."""
