"""Registration of a loaded pair: the second image is brought onto the first, and what it covers travels along."""

from typing import Union

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.fileio.errors import PairDataError
from mmfusion.registration import build_registrar
from mmfusion.registration.geometry import transform_points, warp
from mmfusion.registration.registrar import fill_unknown
from mmfusion.registry import TRANSFORMS
from mmfusion.utils.errors import InputError, InputKeyError, UserError

from .sources import SOURCES, source_name

_CLASS_MAPS = ('gt_seg_map', 'gt_edge_map')
_NO_CLASS = 255
_LEAST_SIDE = 1.0  # pixels: a box of less is no object
_HALF = np.array(
    [[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]
)  # boxes count from the edge of the first pixel, matrices from its center


@TRANSFORMS.register_module()
class Register(BaseTransform):
    """Bring the second image onto the first, or refuse the pair.

    It stands after ``LoadPair(same_size=False)``; ``LoadPair(registration=...)`` does both. The first image stays as it
    is. Where the second has nothing it shows the first in gray, so that no border is invented, and ``valid_map`` is 0
    there: it is cropped, flipped, resized and padded like a class map (:class:`Paired`), and fusion losses and metrics
    leave those pixels out.

    Args:
        registration: ``'auto'`` or arguments of :func:`~mmfusion.registration.register_pair` estimate a transform for
            each pair; the path of a rig file applies one to all.
        labels: Whose pixels the labels count in. Those of the first source stay as they are. Those of the ``'second'``
            are moved along: boxes become the upright boxes around their moved corners, are cut at the border of the
            first image and dropped where nothing is left; class maps get 255 where the second image has nothing. They
            must be loaded before, except for the boxes in ``instances``.

    Required keys: ``first`` and ``second``, (H, W, C) arrays of any sizes.

    Changed keys: ``first`` (a rig may take lens distortion out), ``second``, ``img_shape``, ``ori_shape``; with
    ``labels='second'`` also ``instances``, ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags``, ``gt_seg_map`` and
    ``gt_edge_map``, where they are there.

    Added keys: ``registration``: ``matrix`` (3 rows of 3, from pixels of the second image to pixels of the first, as
    loaded), ``confidence`` and ``coverage``, the part of the first image that the second covers. ``valid_map``: (H, W)
    uint8, 1 where both images have something.

    Raises:
        UserError: The rig file cannot be used.
        TypeError: ``registration`` is none of these, or has an unknown argument.
        PairDataError: The pair is refused; the message names it and says why.
        ValueError: ``labels`` is neither, or there are labels of the second image that cannot be moved.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> scene = cv2.GaussianBlur(rng.uniform(0, 255, (160, 200)).astype(np.float32), (0, 0), 3)
        >>> scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)[..., None]
        >>> register = Register(dict(model='translation'))
        >>> results = register(dict(first=scene[10:130, 10:170], second=255 - scene[14:134, 16:176]))
        >>> results['valid_map'][0, 0], results['valid_map'][60, 80], results['img_shape']
        (np.uint8(0), np.uint8(1), (120, 160))
    """

    def __init__(self, registration: Union[str, dict] = 'auto', labels: str = 'first') -> None:
        if labels not in SOURCES:
            raise InputError(f"Register: labels must be 'first' or 'second', got {labels!r}")
        self.registrar = build_registrar(registration)
        if self.registrar is None:
            raise TypeError("Register: registration must be 'auto', a dict or the path of a rig file, got None")
        self.registration, self.labels = registration, labels

    def transform(self, results: dict) -> dict:
        """Register one pair."""
        missing = [source for source in SOURCES if source not in results]
        if missing:
            raise InputKeyError(f'Register: no {missing} in the results; put LoadPair(same_size=False) first')
        names = {source: source_name(results, source) for source in SOURCES}
        try:
            first, second, results['registration'], valid = self.registrar(results['first'], results['second'])
        except UserError as error:
            raise PairDataError('not registered', f'{names["first"]} and {names["second"]}: {error}') from None
        filled = fill_unknown(first, second, valid, names['first'])
        if 'second' in results.get('thermal_values', {}):
            values, matrix = results['thermal_values'], np.asarray(results['registration']['matrix'], np.float64)
            values['second'] = cv2.warpPerspective(
                values['second'], matrix, first.shape[1::-1], borderValue=float('nan')
            )
        results['first'], results['second'] = first, filled
        results['valid_map'] = valid.astype(np.uint8)
        results['img_shape'] = results['ori_shape'] = first.shape[:2]
        if self.labels == 'second':
            self._move_labels(results, np.array(results['registration']['matrix']), valid)
        return results

    def _move_labels(self, results: dict, matrix: np.ndarray, valid: np.ndarray) -> None:
        for key in ('gt_masks', 'gt_depth_map', 'proposals'):
            if key in results:
                raise InputError(
                    f"Register(labels='second') does not move {key} of sample "
                    f'{results.get("sample_id", "?")}; leave them out'
                )
        if 'seg_map_path' in results and 'gt_seg_map' not in results:
            raise InputError("Register(labels='second') stands after the class map is loaded")
        edges = _HALF @ matrix @ np.linalg.inv(_HALF)
        if 'instances' in results:
            boxes = np.array([item['bbox'] for item in results['instances']], np.float64).reshape(-1, 4)
            moved, kept = move_boxes(boxes, edges, valid.shape)
            results['instances'] = [
                dict(item, bbox=box.tolist()) for item, box, keep in zip(results['instances'], moved, kept) if keep
            ]
        if 'gt_bboxes' in results:
            boxes = results['gt_bboxes']
            moved, kept = move_boxes(np.asarray(getattr(boxes, 'tensor', boxes), np.float64), edges, valid.shape)
            moved = moved[kept].astype(np.float32)
            results['gt_bboxes'] = type(boxes)(moved) if hasattr(boxes, 'tensor') else moved
            for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
                if key in results:
                    results[key] = results[key][kept]
        for key in _CLASS_MAPS:
            if key in results:
                moved = warp(results[key].astype(np.int16), matrix, valid.shape, nearest=True)
                results[key] = np.where(valid, moved, _NO_CLASS).astype(results[key].dtype)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(registration={self.registration}, labels={self.labels!r})'


def move_boxes(boxes: np.ndarray, matrix: np.ndarray, shape):
    """Upright boxes around moved ones, cut at the border.

    Args:
        boxes: (n, 4) xyxy.
        matrix: 3x3, for points that count from the edge of the first pixel.
        shape: (height, width) of the image that they are moved to.

    Returns:
        tuple: (n, 4) boxes, and (n,) bool: which of them are still a pixel wide and high.

    Examples:
        >>> moved, kept = move_boxes(np.array([[0., 0, 4, 4], [30, 0, 34, 4]]), np.array([[1., 0, 2], [0, 1, 0], [0, 0, 1]]), (10, 20))
        >>> moved[kept].tolist()
        [[2.0, 0.0, 6.0, 4.0]]
    """
    points = transform_points(matrix, boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)).reshape(-1, 4, 2)
    height, width = shape
    low, high = points.min(1), points.max(1)
    moved = np.clip(np.concatenate([low, high], axis=1), 0, [width, height, width, height])
    return moved, ((moved[:, 2:] - moved[:, :2]) >= _LEAST_SIDE).all(1)
