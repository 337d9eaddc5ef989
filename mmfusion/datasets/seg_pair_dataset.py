"""Base of pair data sets with one class map per pair."""

import os
from typing import Dict, List, Optional

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.pairing import PairFiles, find_folder, index_images, match_pairs, read_id_list
from mmfusion.registry import DATASETS
from mmfusion.utils.errors import MissingFileError

from .base_pair_dataset import BasePairDataset

IGNORED = 255


@DATASETS.register_module()
class SegPairDataset(BasePairDataset):
    """Pairs in two folders with one class map each in a third: a png of one channel whose values are class numbers.

    Class number ``i`` of the files is the ``i``-th name of ``METAINFO['seg_classes']``.
    ``metainfo=dict(seg_classes=(...))`` may choose a subset or another order of the known names; pixels of the others
    become 255, which losses and metrics ignore. A set that knows no names (this class used as it is, with
    ``data_prefix``) takes the names given as those of the numbers. 255 in a file is ignored always, any other number
    without a name is an error that :class:`LoadClassMap` raises with the name of the file.

    There are no boxes: ``metainfo['classes']`` is empty, the names are in ``metainfo['seg_classes']``.

    Args:
        split: Part of the data set, fills ``{split}``.
        seg_dir: Another folder of class maps beside the official one.
        ignore_background: Leave the first class out: its pixels become 255 and the other labels move down by one, so
            that the head has one class less. To train the background as a class and leave it out of the mean only, use
            ``SegIoUMetric(ignore_background=True)`` instead.
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` keys: ``first``, ``second``, ``seg``.

    Raises:
        FileNotFoundError: A folder is missing, that of the class maps included.
        PairDataError: A pair has no class map, or one of another size; see :class:`BasePairDataset`.
        ValueError: ``metainfo`` names unknown classes, or names classes although ``ignore_background`` chooses them.
    """

    METAINFO = dict(classes=(), palette=[], seg_classes=(), seg_palette=[], modalities=('visible', 'infrared'))
    FOLDERS = dict(first=('visible',), second=('infrared',), seg=('labels',))
    needs_class_maps = True

    def __init__(
        self, *args, split: str = 'train', seg_dir: Optional[str] = None, ignore_background: bool = False, **kwargs
    ) -> None:
        self.split, self.seg_dir = split, seg_dir
        metainfo = dict(kwargs.pop('metainfo', None) or {})
        known = tuple(self.METAINFO['seg_classes'])
        if ignore_background:
            if 'seg_classes' in metainfo and known:
                raise ValueError(
                    f'{type(self).__name__}: choose the classes with ignore_background or with '
                    f'metainfo.seg_classes, not with both'
                )
            known = known or tuple(metainfo.get('seg_classes', ()))
            metainfo['seg_classes'] = known[1:]
        chosen = tuple(metainfo.get('seg_classes', known))
        names = known or chosen
        strange = [name for name in chosen if name not in names]
        if strange:
            raise ValueError(
                f'{type(self).__name__}: metainfo names unknown segmentation classes {strange}; known are {list(names)}'
            )
        self._label_map = {
            number: chosen.index(name) if name in chosen else IGNORED for number, name in enumerate(names)
        }
        colors = dict(zip(names, self.METAINFO.get('seg_palette', ())))
        if colors and 'seg_palette' not in metainfo:
            metainfo['seg_palette'] = [colors[name] for name in chosen]
        super().__init__(*args, metainfo=metainfo, **kwargs)

    def list_pairs(self) -> List[PairFiles]:
        """List the images of both folders, or those of the id list."""
        first, second = index_images(self.folder('first')), index_images(self.folder('second'))
        self._class_maps = self.index_class_maps()
        return match_pairs(first, second, read_id_list(self.ann_file) if self.ann_file else None)

    def index_class_maps(self) -> Optional[Dict[str, str]]:
        """Map the stem of every class map to its path; None for a set that has none and needs none.

        Raises:
            FileNotFoundError: The folder asked for, or one that the set needs, is missing.
        """
        official = [name.format(split=self.split) for name in self.FOLDERS['seg']]
        if 'seg' in self.data_prefix:
            return index_images(self.folder('seg'))
        if self.seg_dir:
            wanted = os.path.join(os.path.dirname(official[0]), self.seg_dir)
            folder = find_folder(self.data_root, wanted)
            if folder is None:
                raise MissingFileError(
                    f'{type(self).__name__}: seg_dir={self.seg_dir!r}: no folder {os.path.join(self.data_root, wanted)}'
                )
            return index_images(folder)
        if self.needs_class_maps:
            return index_images(self.folder('seg'))
        folder = find_folder(self.data_root, *official)
        return index_images(folder) if folder else None

    def seg_map_of(self, pair: PairFiles) -> Optional[str]:
        """Path of the class map; an absent one is an error as soon as the folder exists."""
        if self._class_maps is None:
            return None
        if pair.stem not in self._class_maps:
            raise PairDataError(
                'missing class map', f'{pair.first} has no class map of the same name; add it or choose on_error="skip"'
            )
        return self._class_maps[pair.stem]

    def label_map(self) -> Dict[int, int]:
        """Label of each class number in the files."""
        return self._label_map or None
