"""Metrics over a sequence: those of images by frame, and two of time."""

import math
from typing import Dict, Optional, Sequence

import cv2
import numpy as np
import torch

from mmfusion.evaluation import temporal
from mmfusion.evaluation.protocols import evaluate_metrics, expand_names, prepare_images
from mmfusion.evaluation.reports.summary import Summary

from .fusing import FusedFrame

KINDS = ('fused', 'first', 'second')


class SequenceScores:
    """Rate fused frames one after the other; give it to :func:`~mmfusion.video.record` as ``see``.

    Args:
        metrics: Names of image metrics; ``'all'`` for all but the slow ones, none for the temporal ones alone.
        protocol: Whose conventions the image metrics follow.

    Attributes:
        frames: Frames rated so far.

    Raises:
        KeyError: The protocol or a metric is unknown.
    """

    def __init__(self, metrics: Sequence[str] = (), protocol: str = 'default') -> None:
        self.metrics = tuple(expand_names(metrics, protocol)) if metrics else ()
        self.protocol = protocol
        self.frames = 0
        self._summary = Summary(self.metrics, protocol) if metrics else None
        self._before: Optional[Dict[str, np.ndarray]] = None
        self._errors = {kind: [0.0, 0] for kind in KINDS}
        self._flicker = dict.fromkeys(KINDS, 0.0)
        self._still = 0

    def __call__(self, frame: FusedFrame) -> None:
        """Rate one frame."""
        self.add(frame.name, frame.view.fused, frame.view.first, frame.view.second)

    def add(self, name: str, fused: np.ndarray, first: np.ndarray, second: np.ndarray) -> Dict[str, float]:
        """Rate one frame.

        Args:
            name: Of the frame.
            fused: (H, W) or (H, W, 3) RGB uint8.
            first: Likewise.
            second: Likewise.

        Returns:
            The image metrics of this frame.
        """
        pictures, values = dict(fused=fused, first=first, second=second), {}
        self.frames += 1
        if self._summary is not None:
            images = prepare_images([_batch(pictures[kind]) for kind in KINDS], self.protocol)
            found = evaluate_metrics(self.metrics, *images, protocol=self.protocol)
            values = {key: value.item() for key, value in found.items()}
            self._summary.add(name, values)
        now = {kind: _gray(image) for kind, image in pictures.items()}
        if self._before is not None:
            self._compare(self._before, now)
        self._before = now
        return values

    def _compare(self, before: Dict[str, np.ndarray], now: Dict[str, np.ndarray]) -> None:
        forward = temporal.optical_flow(before['first'], now['first'])
        visible = temporal.visible_pixels(forward, temporal.optical_flow(now['first'], before['first']))
        still = temporal.still_pixels(before['first'], now['first'])
        still &= temporal.still_pixels(before['second'], now['second'])
        for kind in KINDS:
            error = temporal.warping_error(before[kind], now[kind], forward, visible)
            if math.isfinite(error):  # else no pixel is seen in both
                self._errors[kind][0] += error
                self._errors[kind][1] += 1
            total, count = temporal.flicker(before[kind], now[kind], still)
            self._flicker[kind] += total
        self._still += count

    def result(self) -> dict:
        """Plain values.

        Returns:
            ``metrics``: for each image metric ``mean``, ``worst`` and ``worst_frame``; ``warping_error`` (times 1000)
            and ``flicker`` (gray levels) of the fused frames and of both sources; ``flicker_ratio``, the fused frames'
            by that of the source that flickers more. None where there is no value.
        """
        metrics = {}
        for name, found in self._summary.statistics().items() if self._summary is not None else ():
            metrics[name] = dict(mean=_plain(found.mean), worst=_plain(found.worst_value), worst_frame=found.worst)
        flicker = {kind: total / self._still if self._still else math.nan for kind, total in self._flicker.items()}
        larger = max(flicker['first'], flicker['second'])
        return dict(
            protocol=self.protocol,
            metrics=metrics,
            warping_error={
                kind: _plain(1000 * total / count if count else math.nan)
                for kind, (total, count) in self._errors.items()
            },
            flicker={kind: _plain(value) for kind, value in flicker.items()},
            flicker_ratio=_plain(flicker['fused'] / larger if larger > 0 else math.nan),
        )


def _plain(value: float) -> Optional[float]:
    return round(value, 5) if math.isfinite(value) else None


def _batch(image: np.ndarray) -> torch.Tensor:
    image = np.ascontiguousarray(image if image.ndim == 3 else image[..., None])
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def _gray(image: np.ndarray) -> np.ndarray:
    image = np.ascontiguousarray(image)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
