"""Result of the inferencer for one pair."""

import os
from dataclasses import dataclass, field
from typing import Dict, Optional

import numpy as np
from mmengine.structures import InstanceData

from mmfusion.structures import FusionDataSample

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')


@dataclass
class FusionResult:
    """Fused picture and predictions of one pair.

    Attributes:
        name: Name of the pair: the stem of its files.
        fused: (H, W) or (H, W, 3) uint8 at the size of the sources; None when not kept or not computed.
        instances: ``bboxes`` (n, 4) xyxy in pixels of the sources, ``scores``, ``labels``, on the CPU; None when no detector ran.
        data_sample: Everything that the task networks predicted; None when none ran.
        boxes_image: Fused picture with boxes, (H, W, 3) uint8; None when not asked for or not kept.
        panel: Sources and fused picture side by side, (H', W', 3) uint8; likewise.
        files: Files written, by kind: ``fused``, ``boxes``, ``panel``.
        skipped: Why nothing was computed: an existing file, or an error that was skipped; empty otherwise.
    """

    name: str
    fused: Optional[np.ndarray] = None
    instances: Optional[InstanceData] = None
    data_sample: Optional[FusionDataSample] = None
    boxes_image: Optional[np.ndarray] = None
    panel: Optional[np.ndarray] = None
    files: Dict[str, str] = field(default_factory=dict)
    skipped: str = ''


def output_files(out_dir: Optional[str], name: str, kinds: tuple) -> Dict[str, str]:
    """Files that one pair's pictures go to.

    Args:
        out_dir: Folder; or, with an image extension, the file of the fused picture, beside which the others get ``_boxes`` and ``_panel``.
        name: Name of the pair.
        kinds: Out of ``'fused'``, ``'boxes'`` and ``'panel'``.

    Examples:
        >>> output_files('out', 'a', ('fused', 'panel'))
        {'fused': 'out/a.png', 'panel': 'out/panel/a.png'}
        >>> output_files('x.png', 'a', ('fused', 'panel'))
        {'fused': 'x.png', 'panel': 'x_panel.png'}
    """
    if out_dir is None:
        return {}
    stem, suffix = os.path.splitext(str(out_dir))
    if suffix.lower() in IMAGE_SUFFIXES:
        return {kind: f'{stem}{"" if kind == "fused" else "_" + kind}{suffix}' for kind in kinds}
    return {kind: os.path.join(str(out_dir), *([] if kind == 'fused' else [kind]), f'{name}.png') for kind in kinds}
