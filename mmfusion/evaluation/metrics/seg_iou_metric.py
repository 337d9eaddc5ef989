"""mmseg's intersection over union on samples that may carry boxes as well."""

from typing import Dict, Optional, Sequence

import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from prettytable import PrettyTable
from torch import Tensor

from mmfusion.registry import METRICS
from mmfusion.utils.errors import InputError


@METRICS.register_module()
class SegIoUMetric(IoUMetric):
    """``mmseg.IoUMetric`` for data sets whose ``metainfo`` tells classes of boxes from classes of pixels.

    The classes are ``metainfo['seg_classes']`` (``metainfo['classes']`` where there is none), so boxes and class maps
    are measured in one run. Prediction and class map are compared at the size of the original image. All counts are
    summed over the whole set before any ratio is formed; a class that neither occurs nor is predicted is left out of
    the mean; pixels of label 255 count nowhere. Counts are integers, and so exact for sets of any size.

    Results, in percent: ``seg/mIoU``, ``seg/mAcc``, ``seg/aAcc`` (all pixels), with ``iou_metrics`` of other names
    those of mmseg.

    Args:
        ignore_background: Leave the first class out of the means. Its pixels still count as errors of the classes
            predicted there, and in ``aAcc``.
        per_class: Report the values of each class too, as ``seg/IoU_car``; they are in the log in any case.
        prefix: Prefix of the result names, ``'seg'`` by default.
        kwargs: Everything else that ``mmseg.IoUMetric`` takes (``iou_metrics``, ``nan_to_num``, ``output_dir``, ...).

    Raises:
        ValueError: A sample has no class map or no prediction, or they differ in size; the message names the sample.

    Examples:
        >>> metric = SegIoUMetric()
        >>> metric.dataset_meta = dict(classes=('person', ), seg_classes=('road', 'car'))
        >>> label = torch.tensor([[[0, 1], [1, 255]]])
        >>> metric.process({}, [dict(gt_sem_seg=dict(data=label), pred_sem_seg=dict(data=torch.ones_like(label)))])
        >>> intersection, union, _, _ = metric.results[0]
        >>> (intersection / union).tolist()  # road 0 of 1, car 2 of 3
        [0.0, 0.6666666666666666]
    """

    default_prefix = 'seg'

    def __init__(
        self, ignore_background: bool = False, per_class: bool = False, prefix: Optional[str] = None, **kwargs
    ) -> None:
        super().__init__(prefix=prefix, **kwargs)
        self.ignore_background, self.per_class = ignore_background, per_class

    @property
    def dataset_meta(self) -> Optional[dict]:
        """Meta information with the classes of the class maps as ``classes``."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: Optional[dict]) -> None:
        if meta and meta.get('seg_classes'):
            meta = dict(meta, classes=meta['seg_classes'], palette=meta.get('seg_palette'))
        self._dataset_meta = meta

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of one batch.

        Args:
            data_batch: Not used.
            data_samples: Samples with ``gt_sem_seg`` and ``pred_sem_seg``, each with ``data`` (1, H, W).
        """
        for sample in data_samples:
            name = sample.get('sample_id', sample.get('img_id', '?'))
            if 'pred_sem_seg' not in sample:
                raise InputError(
                    f'SegIoUMetric: sample {name} has no predicted class map; the model needs a '
                    f'segmentor among its tasks'
                )
            if self.format_only:
                continue
            if 'gt_sem_seg' not in sample:
                raise InputError(
                    f"SegIoUMetric: sample {name} has no class map; put dict(type='LoadClassMap') "
                    f'into the test pipeline'
                )
            shapes = [tuple(sample[key]['data'].shape[-2:]) for key in ('gt_sem_seg', 'pred_sem_seg')]
            if shapes[0] != shapes[1]:
                raise InputError(
                    f'SegIoUMetric: the class map of sample {name} is {shapes[0]}, the prediction {shapes[1]}: '
                    f'in a test pipeline, '
                    'load it after the transforms that change the size'
                )
        super().process(data_batch, data_samples)

    @staticmethod
    def intersect_and_union(pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> tuple:
        """Count pixels exactly: intersection, union, prediction and label, each (num_classes, ) float64 with integer
        values.
        """
        valid = label != ignore_index
        pred_label, label = pred_label[valid].long(), label[valid].long()
        if label.numel() and int(label.max()) >= num_classes:
            raise InputError(f'SegIoUMetric: label {int(label.max())} where the data set has {num_classes} classes')
        matched = label[pred_label == label]
        intersect, predicted, labelled = (
            torch.bincount(x, minlength=num_classes)[:num_classes].double().cpu() for x in (matched, pred_label, label)
        )
        return intersect, predicted + labelled - intersect, predicted, labelled

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Form the ratios and log the table of classes."""
        logger = MMLogger.get_current_instance()
        if self.format_only:
            return super().compute_metrics(results)
        areas = [sum(part) for part in zip(*results)]
        values = self.total_area_to_metrics(*areas, self.metrics, self.nan_to_num, self.beta)
        names = list(self.dataset_meta['classes'])
        metrics = {'aAcc': _percent(values.pop('aAcc'))}
        table = PrettyTable(field_names=['class', *values])
        for index, name in enumerate(names):
            table.add_row([name, *(_percent(per_class[index]) for per_class in values.values())])
        for key, per_class in values.items():
            metrics[f'm{key}'] = _mean(per_class[int(self.ignore_background) :])
            if self.per_class:
                metrics.update({f'{key}_{name}': _percent(value) for name, value in zip(names, per_class)})
        counted = names[int(self.ignore_background) :]
        print_log(
            f'mean over {len(counted)} classes{" (without " + names[0] + ")" if self.ignore_background else ""}, '
            f'those that occur or are predicted:\n{table.get_string()}',
            logger,
        )
        return metrics


def _percent(value: float) -> float:
    return round(float(value) * 100, 2)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return _percent(known.mean()) if len(known) else float('nan')
