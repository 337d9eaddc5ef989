"""Loading and checking the class map of a pair."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_class_map
from mmfusion.registry import TRANSFORMS
from mmfusion.utils.errors import InputKeyError

IGNORED = 255


@TRANSFORMS.register_module()
class LoadClassMap(BaseTransform):
    """Load ``seg_map_path`` as ``gt_seg_map``, or take the array ``gt_seg_map`` if it is there already, with labels as
    ``label_map`` says.

    What ``mmdet.LoadAnnotations`` with ``with_seg=True`` loads, with the checks that it lacks: size, numbers without a
    class, color pictures. A png with a palette gives its indices. In a test pipeline it stands after the resize: the
    metric compares at the size of the original.

    Required keys: ``seg_map_path`` (and ``label_map``), or ``gt_seg_map``; ``ori_shape`` from :class:`LoadPair`.

    Added keys: ``gt_seg_map``, (H, W) uint8 with 255 for what is ignored; its name in ``seg_fields``.

    Raises:
        KeyError: ``LoadPair`` has not run before.
        PairDataError: The sample has no class map, the file is unreadable or no map of numbers, its size is not that of
            the images, or it holds a number without a class; the message names the file.

    Examples:
        >>> results = dict(ori_shape=(1, 4), gt_seg_map=np.array([[0, 1, 2, 255]], np.uint8), label_map={0: 255, 1: 0, 2: 1})
        >>> LoadClassMap()(results)['gt_seg_map'].tolist()
        [[255, 0, 1, 255]]
    """

    def transform(self, results: dict) -> dict:
        """Load the class map."""
        if 'ori_shape' not in results:
            raise InputKeyError('LoadClassMap: put LoadPair first')
        name = results.get('seg_map_path')
        if name is not None:
            numbers, name = read_class_map(name), f'class map {name}'
        elif 'gt_seg_map' in results:
            numbers, name = results['gt_seg_map'], f'the class map of sample {results.get("sample_id", "?")}'
        else:
            raise PairDataError(
                'missing class map',
                f'sample {results.get("sample_id", "?")} has no class map; use a data set with class maps, '
                'or give their folder as seg_dir',
            )
        height, width = results['ori_shape'][:2]
        if numbers.shape != (height, width):
            raise PairDataError(
                'size mismatch',
                f'{name} has {numbers.shape[1]}x{numbers.shape[0]} pixels, its images have {width}x{height}; '
                'use the original class maps, or resize images and class maps (nearest) alike',
            )
        results['gt_seg_map'] = self._to_labels(numbers, results.get('label_map'), name)
        fields = results.setdefault('seg_fields', [])
        if 'gt_seg_map' not in fields:
            fields.append('gt_seg_map')
        return results

    @staticmethod
    def _to_labels(numbers: np.ndarray, label_map, name: str) -> np.ndarray:
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high > IGNORED:
            raise PairDataError(
                'unknown class number',
                f'{name} holds the number {low if low < 0 else high}; class numbers lie in 0...254, 255 is ignored',
            )
        if not label_map:
            return numbers.astype(np.uint8)
        table = np.full(IGNORED + 1, -1, np.int16)
        table[list(label_map)], table[IGNORED] = list(label_map.values()), IGNORED
        labels = cv2.LUT(numbers.astype(np.uint8), table)  # table[numbers], ten times as fast
        if labels.min() < 0:
            strange = np.unique(numbers[labels < 0]).tolist()
            raise PairDataError(
                'unknown class number',
                f'{name} holds the class numbers {strange}; known are {min(label_map)}...{max(label_map)}, '
                'and 255 for what is ignored. Correct the file, or give all names in metainfo.seg_classes',
            )
        return labels.astype(np.uint8)

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
