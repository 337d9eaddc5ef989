"""Pairs with one COCO file of boxes and masks."""

import os
from typing import List, Optional

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.pairing import PairFiles, index_images, match_pairs, read_id_list
from mmfusion.registry import DATASETS

from .annotations import RawAnnotation, read_coco
from .base_pair_dataset import BasePairDataset


@DATASETS.register_module()
class CocoPairDataset(BasePairDataset):
    """Pairs in two folders, with the boxes and masks of all of them in one COCO json.

    The json's ``file_name`` names a pair by its stem, whatever folder or extension it has. For instance segmentation,
    load the masks with ``dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)``.

    Args:
        coco_file: The json, relative to ``data_root``.
        metainfo: ``dict(classes=(...))`` chooses among the categories of the file, or their order; all by rising number
            when left out.
        split: Part of the data set, fills ``{split}`` in ``coco_file``.
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` keys: ``first``, ``second``.

    Raises:
        FileNotFoundError: A folder or the json is missing.
        PairDataError: The json is malformed or does not know a pair; see :class:`BasePairDataset`.
    """

    FOLDERS = dict(first=('{split}/visible', 'visible'), second=('{split}/infrared', 'infrared'))
    LAYOUT = """    <data_root>/visible/NAME.png ...      or the folders of data_prefix.first and data_prefix.second
    <data_root>/infrared/NAME.png ...
    <data_root>/annotations.json          COCO: images, categories, annotations with bbox and segmentation"""

    def __init__(self, *args, coco_file: str = 'annotations.json', split: str = 'train', **kwargs) -> None:
        self.coco_file, self.split = coco_file, split
        super().__init__(*args, **kwargs)

    def list_pairs(self) -> List[PairFiles]:
        """List the images of both folders, or those of the id list."""
        first, second = index_images(self.folder('first')), index_images(self.folder('second'))
        self._path = os.path.join(self.data_root, self.coco_file.format(split=self.split))
        self._content = read_coco(self._path)
        self._metainfo['classes'] = tuple(self._metainfo.get('classes') or self._content.names)
        return match_pairs(first, second, read_id_list(self.ann_file) if self.ann_file else None)

    def known_classes(self) -> tuple:
        """Names of the file's categories."""
        return tuple(self._content.names)

    def annotation_path(self, pair: PairFiles) -> str:
        """Path of the json, with the pair."""
        return f'{self._path} ({pair.stem})'

    def read_annotation(self, pair: PairFiles, size: Optional[tuple]) -> RawAnnotation:
        """The objects of the pair."""
        annotation = self._content.annotations.get(pair.stem)
        if annotation is None:
            raise PairDataError(
                'missing annotation',
                f'{self._path} has no image named {pair.stem!r}; add it (without annotations, if it shows no '
                'object) or choose on_error="skip"',
            )
        return annotation
