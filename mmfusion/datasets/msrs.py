"""MSRS: PIAFusion, a progressive infrared and visible image fusion network (Tang et al., Information Fusion 2022),
https://github.com/Linfeng-Tang/MSRS.

Its images and class maps are those of MFNet, aligned and enhanced anew.
"""

import os
from typing import List, Optional

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_size
from mmfusion.fileio.pairing import PairFiles
from mmfusion.registry import DATASETS

from .annotations import RawAnnotation, read_class_names, read_yolo
from .mfnet import MFNET_CLASSES, MFNET_PALETTE
from .seg_pair_dataset import SegPairDataset


@DATASETS.register_module()
class MSRSSegDataset(SegPairDataset):
    """MSRS with class maps and without boxes: 1083 pairs for training, 361 for test, 9 classes.

    Protocol: number 0, ``unlabelled``, is the background, trained and counted as a class as published results do: the
    mean is over 9 classes. ``ignore_background=True`` (here, or in ``SegIoUMetric`` alone) gives the mean over 8.

    Args:
        kwargs: See :class:`SegPairDataset`; ``split`` is ``'train'`` or ``'test'``. ``data_prefix`` keys: ``first``,
            ``second``, ``seg``.
    """

    METAINFO = dict(
        classes=(), palette=[], seg_classes=MFNET_CLASSES, seg_palette=MFNET_PALETTE, modalities=('visible', 'infrared')
    )
    FOLDERS = dict(
        first=('{split}/vi', '{split}/visible', '{split}/vis'),
        second=('{split}/ir', '{split}/infrared'),
        seg=('{split}/Segmentation_labels',),
    )
    LAYOUT = """    MSRS/
      {train,test}/vi/00001D.png ...
      {train,test}/ir/00001D.png ...
      {train,test}/Segmentation_labels/00001D.png ..."""


@DATASETS.register_module()
class MSRSDetDataset(MSRSSegDataset):
    """MSRS with YOLO text boxes, and class maps where there are any.

    An empty label file is an image without objects. Class numbers are turned to names by ``classes_file`` and names to
    labels by ``metainfo['classes']``.

    Args:
        classes_file: Names of the class numbers, relative to ``data_root``.
        empty_annotation: ``'background'`` takes an empty label file for an image without objects, ``'error'`` for a
            problem.
        kwargs: See :class:`MSRSSegDataset`; ``seg_dir`` is ``Segmentation_labels`` if it exists by default.
            ``data_prefix`` keys: ``first``, ``second``, ``ann``, ``seg``.
    """

    METAINFO = dict(
        MSRSSegDataset.METAINFO,
        classes=('person', 'bicycle', 'car'),
        palette=[(220, 20, 60), (119, 11, 32), (0, 0, 142)],
    )
    FOLDERS = dict(MSRSSegDataset.FOLDERS, ann=('{split}/labels', '{split}/label'))
    LAYOUT = """    MSRS/
      classes.txt                      lines "number name": 0 person, 1 bicycle, 2 car
      {train,test}/vi/00001D.png ...
      {train,test}/ir/00001D.png ...
      {train,test}/labels/00001D.txt ...   YOLO text
      {train,test}/Segmentation_labels/00001D.png ...   optional"""
    needs_class_maps = False

    def __init__(
        self, *args, classes_file: str = 'classes.txt', empty_annotation: str = 'background', **kwargs
    ) -> None:
        if empty_annotation not in ('background', 'error'):
            raise ValueError(f"empty_annotation must be 'background' or 'error', got {empty_annotation!r}")
        self.classes_file, self.empty_annotation = classes_file, empty_annotation
        super().__init__(*args, **kwargs)

    def list_pairs(self) -> List[PairFiles]:
        """List the images of both folders, or those of the id list."""
        pairs = super().list_pairs()
        self._annotation_folder = self.folder('ann')
        self._names = read_class_names(os.path.join(self.data_root, self.classes_file))
        return pairs

    def annotation_path(self, pair: PairFiles) -> str:
        """Path of the text file."""
        return os.path.join(self._annotation_folder, f'{pair.stem}.txt')

    def read_annotation(self, pair: PairFiles, size: Optional[tuple]) -> RawAnnotation:
        """Read the text file of the pair."""
        path = self.annotation_path(pair)
        annotation = read_yolo(path, self._names, size or read_size(pair.first))
        if not annotation.boxes and self.empty_annotation == 'error':
            raise PairDataError(
                'empty annotation',
                f'annotation file {path} is empty; choose empty_annotation="background" if it shows no object',
            )
        return annotation
