"""A transform that makes the first source worthless: noise in the place of the picture, another one each time."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class NoiseForFirst(BaseTransform):
    """Put noise in the place of the first source; the same noise for the same test image."""

    def transform(self, results):
        rng = np.random.default_rng([7, int(results['img_id'])])
        results['first'] = rng.integers(0, 256, results['first'].shape, dtype=np.uint8)
        return results
