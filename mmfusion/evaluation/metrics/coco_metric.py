"""mmdet's COCO metric, where a detector that finds nothing has an average precision of 0."""

from typing import Dict

import numpy as np
from mmdet.evaluation import CocoMetric as MMDetCocoMetric
from mmdet.registry import METRICS as MMDET_METRICS
from mmengine.logging import print_log
from pycocotools import mask as coco_mask

from mmfusion.registry import METRICS


@MMDET_METRICS.register_module(name='CocoMetric', force=True)  # configs write mmdet.CocoMetric
@METRICS.register_module()
class CocoMetric(MMDetCocoMetric):
    """mmdet's ``CocoMetric``, whose place it takes under the same name.

    Where no image of the whole set has a detection, mmdet's returns no values at all: tables have holes, and
    ``save_best='coco/bbox_mAP'`` fails. This one returns what COCO's evaluation says of a detector without a hit: 0,
    and -1 for an area range in which there is no object.

    Args:
        kwargs: Arguments of :class:`mmdet.evaluation.CocoMetric`.
    """

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the metrics of all images.

        Args:
            results: Ground truth and prediction of each image.
        """
        if self.format_only or not results or any(len(prediction['bboxes']) for _, prediction in results):
            return super().compute_metrics(results)
        print_log(f'no detection in {len(results)} images: average precision and recall are 0', 'current')
        prefix, self.outfile_prefix = (
            self.outfile_prefix,
            None,
        )  # what follows is not what was predicted, so it goes into no file
        try:
            metrics = super().compute_metrics([(truth, miss(truth, prediction)) for truth, prediction in results])
        finally:
            self.outfile_prefix = prefix
        if prefix is not None:
            self.results2json([prediction for _, prediction in results], prefix)
        return metrics


def miss(truth: dict, prediction: dict) -> dict:
    """The prediction of an image with one detection of no area and no confidence: it hits nothing and is there to be
    counted.
    """
    missed = dict(prediction, bboxes=np.zeros((1, 4)), scores=np.zeros(1), labels=np.zeros(1, dtype=int))
    if 'mask_scores' in prediction:
        missed['mask_scores'] = np.zeros(1)
    if 'masks' in prediction:
        missed['masks'] = [coco_mask.encode(np.zeros((truth['height'], truth['width']), dtype=np.uint8, order='F'))]
    return missed
