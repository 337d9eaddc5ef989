"""Resizing of pairs that were decoded at a reduced size."""

import mmcv
from mmdet.datasets.transforms import Resize

from mmfusion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ReducedResize(Resize):
    """``mmdet.Resize`` that knows images decoded at a reduced size (``reduce_to`` of :class:`LoadPair`).

    Sizes, boxes, masks, class maps and ``scale_factor`` are exactly those of ``mmdet.Resize`` on the whole picture;
    only the pixels come from the reduced one. A picture of full size is resized as ``mmdet.Resize`` does it.

    Args:
        scale: (width, height); not above ``reduce_to`` of :class:`LoadPair`, since a reduced picture has no finer
            detail.
        kwargs: See ``mmdet.Resize``, without ``scale_factor``.

    Raises:
        ValueError: ``scale`` is missing.

    Examples:
        >>> import numpy as np
        >>> results = dict(img=np.zeros((512, 640, 3), np.uint8), reduced_from=(1024, 1280))
        >>> results = ReducedResize(scale=(640, 480))(results)
        >>> results['img'].shape, results['scale_factor']
        ((480, 640, 3), (0.5, 0.46875))
    """

    def __init__(self, scale, **kwargs) -> None:
        if scale is None or kwargs.get('scale_factor') is not None:
            raise ValueError('ReducedResize needs scale=(width, height) and takes no scale_factor')
        super().__init__(scale=scale, **kwargs)

    def _resize_img(self, results: dict) -> None:
        full = results.pop('reduced_from', None)
        if full is None:
            super()._resize_img(results)
            return
        height, width = full
        size = mmcv.rescale_size((width, height), results['scale']) if self.keep_ratio else tuple(results['scale'])
        results['img'] = mmcv.imresize(results['img'], size, interpolation=self.interpolation, backend=self.backend)
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (size[0] / width, size[1] / height)
        results['keep_ratio'] = self.keep_ratio
