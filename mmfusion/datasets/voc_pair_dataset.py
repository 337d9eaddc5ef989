"""Base of pair data sets with one VOC xml per pair."""

import os
from typing import List, Optional

from mmfusion.fileio.pairing import PairFiles, index_images, match_pairs, read_id_list
from mmfusion.registry import DATASETS

from .annotations import RawAnnotation, read_voc
from .base_pair_dataset import BasePairDataset


@DATASETS.register_module()
class VOCPairDataset(BasePairDataset):
    """Pairs in two folders with one VOC xml each in a third.

    Subclasses name the folders and the classes; used as it is, ``data_prefix`` and ``metainfo=dict(classes=(...))`` do.

    Args:
        split: Part of the data set, fills ``{split}``.
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` keys: ``first``, ``second``, ``ann``.
    """

    FOLDERS = dict(first=('visible',), second=('infrared',), ann=('Annotations',))

    def __init__(self, *args, split: str = 'train', **kwargs) -> None:
        self.split = split
        super().__init__(*args, **kwargs)

    def list_pairs(self) -> List[PairFiles]:
        """List the images of both folders, or those of the id list."""
        first, second = index_images(self.folder('first')), index_images(self.folder('second'))
        self._annotation_folder = self.folder('ann')
        return match_pairs(first, second, read_id_list(self.ann_file) if self.ann_file else None)

    def annotation_path(self, pair: PairFiles) -> str:
        """Path of the xml file."""
        return os.path.join(self._annotation_folder, f'{pair.stem}.xml')

    def read_annotation(self, pair: PairFiles, size: Optional[tuple]) -> RawAnnotation:
        """Read the xml file of the pair."""
        return read_voc(self.annotation_path(pair))
