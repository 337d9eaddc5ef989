"""MSRS: PIAFusion, a progressive infrared and visible image fusion network (Tang et al., Information Fusion 2022), https://github.com/Linfeng-Tang/MSRS."""
import os
from typing import List, Optional

from mmfusion.registry import DATASETS

from .annotations import RawAnnotation, read_class_names, read_yolo
from .base_pair_dataset import BasePairDataset
from .errors import PairDataError
from .image_io import read_size
from .layout import PairFiles, find_folder, index_images, match_pairs, read_id_list


@DATASETS.register_module()
class MSRSDetDataset(BasePairDataset):
    """MSRS with YOLO text boxes, and class maps where there are any.

    An empty label file is an image without objects. Class numbers are turned to names by ``classes_file`` and names to labels by
    ``metainfo['classes']``.

    Args:
        split: ``'train'`` or ``'test'``.
        classes_file: Names of the class numbers, relative to ``data_root``.
        seg_dir: Folder of class maps, relative to the folder of the split. By default ``Segmentation_labels`` if it exists.
        empty_annotation: ``'background'`` takes an empty label file for an image without objects, ``'error'`` for a problem.
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` keys: ``first``, ``second``, ``ann``, ``seg``.
    """

    METAINFO = dict(
        classes=('person', 'bicycle', 'car'),
        palette=[(220, 20, 60), (119, 11, 32), (0, 0, 142)],
        seg_classes=('unlabelled', 'car', 'person', 'bike', 'curve', 'car_stop', 'guardrail', 'color_cone', 'bump'),
        seg_palette=[(0, 0, 0), (64, 0, 128), (64, 64, 0), (0, 128, 192), (0, 0, 192), (128, 128, 0), (64, 64, 128), (192, 128, 128), (192, 64, 0)],
        modalities=('visible', 'infrared'))
    FOLDERS = dict(
        first=('{split}/vi', '{split}/visible', '{split}/vis'), second=('{split}/ir', '{split}/infrared'), ann=('{split}/labels', '{split}/label'))
    LAYOUT = """    MSRS/
      classes.txt                      lines "number name": 0 person, 1 bicycle, 2 car
      {train,test}/vi/00001D.png ...
      {train,test}/ir/00001D.png ...
      {train,test}/labels/00001D.txt ...   YOLO text
      {train,test}/Segmentation_labels/00001D.png ...   optional"""

    def __init__(self,
                 *args,
                 split: str = 'train',
                 classes_file: str = 'classes.txt',
                 seg_dir: Optional[str] = None,
                 empty_annotation: str = 'background',
                 **kwargs) -> None:
        if empty_annotation not in ('background', 'error'):
            raise ValueError(f"empty_annotation must be 'background' or 'error', got {empty_annotation!r}")
        self.split, self.classes_file, self.seg_dir, self.empty_annotation = split, classes_file, seg_dir, empty_annotation
        super().__init__(*args, **kwargs)

    def list_pairs(self) -> List[PairFiles]:
        """List the images of both folders, or those of the id list."""
        first, second = index_images(self.folder('first')), index_images(self.folder('second'))
        self._annotation_folder = self.folder('ann')
        self._names = read_class_names(os.path.join(self.data_root, self.classes_file))
        self._seg_maps = self._index_seg_maps()
        return match_pairs(first, second, read_id_list(self.ann_file) if self.ann_file else None)

    def _index_seg_maps(self) -> Optional[dict]:
        if 'seg' in self.data_prefix:
            return index_images(self.folder('seg'))
        wanted = os.path.join(self.split, self.seg_dir or 'Segmentation_labels')
        folder = find_folder(self.data_root, wanted)
        if folder is None and self.seg_dir:
            raise FileNotFoundError(f'{type(self).__name__}: seg_dir={self.seg_dir!r}: no folder {os.path.join(self.data_root, wanted)}')
        return index_images(folder) if folder else None

    def annotation_path(self, pair: PairFiles) -> str:
        """Path of the text file."""
        return os.path.join(self._annotation_folder, f'{pair.stem}.txt')

    def read_annotation(self, pair: PairFiles, size: Optional[tuple]) -> RawAnnotation:
        """Read the text file of the pair."""
        path = self.annotation_path(pair)
        annotation = read_yolo(path, self._names, size or read_size(pair.first))
        if not annotation.boxes and self.empty_annotation == 'error':
            raise PairDataError('empty annotation', f'annotation file {path} is empty; choose empty_annotation="background" if it shows no object')
        return annotation

    def seg_map_of(self, pair: PairFiles) -> Optional[str]:
        """Path of the class map; absent ones are an error as soon as the folder exists."""
        if self._seg_maps is None:
            return None
        if pair.stem not in self._seg_maps:
            raise PairDataError('missing class map', f'{pair.first} has no class map of the same name; add it or choose on_error="skip"')
        return self._seg_maps[pair.stem]
