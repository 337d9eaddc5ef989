"""Metric that keeps the predictions for every image of a test run."""

from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from mmfusion.evaluation.protocols import evaluate_metrics, prepare_images
from mmfusion.fileio.image_writing import FileNames, write_image
from mmfusion.registry import METRICS
from mmfusion.utils import UserError
from mmfusion.visualization import to_picture

from .record import PICTURE_METRICS, PICTURE_VALUES, Boxes, Record, confusion_matrix

TASKS = ('detection', 'segmentation')


@METRICS.register_module()
class PredictionRecorder(BaseMetric):
    """Write the predictions and the ground truth of a test run into one file, and on request its pictures.

    Args:
        out_file: File of the :class:`~mmfusion.experiments.verdict.record.Record`.
        tasks: What to keep, out of ``'detection'`` and ``'segmentation'``.
        picture_dir: Folder for the fused pictures, ``NAME.jpg``; none are written when None.
        rate: Rate the fused pictures by :func:`rate_picture`.
        source_dir: Folder for the sources, ``NAME_first.jpg`` and ``NAME_second.jpg``; those that are there are kept.
        kwargs: ``collect_device`` and ``prefix`` of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: ``tasks`` names something else.
        UserError: A sample has no label or no prediction of a task; the message names it.
    """

    default_prefix = 'record'

    def __init__(
        self,
        out_file: str,
        tasks: Sequence[str] = ('detection',),
        picture_dir: Optional[str] = None,
        source_dir: Optional[str] = None,
        rate: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if not tasks or set(tasks) - set(TASKS):
            raise ValueError(f'tasks must be out of {TASKS}, got {tuple(tasks)}')
        self.out_file, self.tasks, self.picture_dir, self.source_dir = out_file, tuple(tasks), picture_dir, source_dir
        self.rate = rate
        self._file_names = FileNames()

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of one batch; rate and write its pictures."""
        inputs = data_batch['inputs']
        for first, second, sample in zip(inputs['first'], inputs['second'], data_samples):
            row = dict(name=str(sample.get('sample_id', sample['img_id'])), size=tuple(sample['ori_shape'][:2]))
            if 'detection' in self.tasks:
                row.update(self._boxes(sample, row['name']))
            if 'segmentation' in self.tasks:
                row['confusion'] = self._confusion(sample, row['name'])
            fused = sample['fused']['data'] if 'fused' in sample else None
            row['picture'] = (
                None
                if fused is None or not self.rate
                else rate_picture(fused, first.to(fused.device), second.to(fused.device))
            )
            self._write(row['name'], fused, dict(first=first, second=second))
            self.results.append(row)

    @staticmethod
    def _boxes(sample: dict, name: str) -> dict:
        if 'instances' not in sample:
            raise UserError(
                f"test sample {name!r} has no boxes to compare detections with; put dict(type='mmdet.LoadAnnotations',"
                ' with_bbox=True) into the test pipeline, or use a labeled test set'
            )
        if 'pred_instances' not in sample:
            raise UserError(f'test sample {name!r} has no detections; the model needs a detector among its tasks')
        found = sample['pred_instances']
        truth = [
            (each['bbox'], int(each['bbox_label']), float(each.get('ignore_flag', 0))) for each in sample['instances']
        ]
        boxes, scores, labels = (found[key].detach().cpu().numpy() for key in ('bboxes', 'scores', 'labels'))
        usable = np.isfinite(boxes).all(1) & np.isfinite(scores)
        return dict(
            truth=truth, found=list(zip(boxes[usable].tolist(), labels[usable].tolist(), scores[usable].tolist()))
        )

    def _confusion(self, sample: dict, name: str) -> np.ndarray:
        if 'gt_sem_seg' not in sample:
            raise UserError(
                f"test sample {name!r} has no class map; put dict(type='LoadClassMap') into the test pipeline, or use a"
                ' labeled test set'
            )
        if 'pred_sem_seg' not in sample:
            raise UserError(
                f'test sample {name!r} has no predicted class map; the model needs a segmentor among its tasks'
            )
        truth, predicted = (sample[key]['data'].cpu().numpy() for key in ('gt_sem_seg', 'pred_sem_seg'))
        if truth.shape[-2:] != predicted.shape[-2:]:
            raise UserError(
                f'the class map of test sample {name!r} is {truth.shape[-2:]}, the prediction {predicted.shape[-2:]}:'
                ' in a test pipeline, load it after the transforms that change the size'
            )
        return confusion_matrix(truth, predicted, len(self._seg_classes()))

    def _seg_classes(self) -> Sequence[str]:
        meta = self.dataset_meta or {}
        return meta.get('seg_classes') or meta.get('classes') or ()

    def _write(self, name: str, fused: Optional[torch.Tensor], sources: Dict[str, torch.Tensor]) -> None:
        stem = self._file_names(name, name)
        if self.picture_dir and fused is not None and torch.isfinite(fused).all():
            write_image(str(Path(self.picture_dir) / f'{stem}.jpg'), to_picture(fused))
        for source, image in sources.items() if self.source_dir else ():
            path = Path(self.source_dir) / f'{stem}_{source}.jpg'
            if not path.exists():
                write_image(str(path), to_picture(image))

    def compute_metrics(self, results: List[dict]) -> dict:
        """Write the record; runs on the main process with the rows of all."""
        names = [row['name'] for row in results]
        if len(set(names)) < len(names):
            raise UserError(
                f'{len(names) - len(set(names))} of {len(names)} test samples share their names with others, so they'
                ' cannot be told apart; test the sets one by one'
            )
        boxes = {}
        if 'detection' in self.tasks:
            boxes['truth'] = Boxes.of(
                [(index, box, label, flag) for index, row in enumerate(results) for box, label, flag in row['truth']]
            )
            boxes['found'] = Boxes.of(
                [(index, box, label, score) for index, row in enumerate(results) for box, label, score in row['found']]
            )
        confusion = np.stack([row['confusion'] for row in results]) if 'segmentation' in self.tasks else None
        pictures = [row['picture'] for row in results]
        classes = (self.dataset_meta or {}).get('classes') or () if 'detection' in self.tasks else ()
        Record(
            tuple(names),
            np.array([row['size'] for row in results]),
            tuple(classes),
            **boxes,
            seg_classes=tuple(self._seg_classes()) if 'segmentation' in self.tasks else (),
            confusion=confusion,
            pictures=None if any(picture is None for picture in pictures) else np.array(pictures),
        ).save(self.out_file)
        return dict(images=len(results))


def rate_picture(fused: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> List[float]:
    """The values of :data:`PICTURE_VALUES` of one picture (C, H, W); NaN where undefined."""
    if not torch.isfinite(fused).all():
        return [float('nan')] * len(PICTURE_VALUES)
    images = prepare_images([image.unsqueeze(0) for image in (fused, first, second)])
    values = evaluate_metrics(PICTURE_METRICS, *images)
    return [float(values[name]) for name in PICTURE_VALUES]
