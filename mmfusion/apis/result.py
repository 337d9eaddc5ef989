"""Result of the inferencer for one pair."""

import os
from dataclasses import dataclass, field
from typing import Dict, Optional

import numpy as np
from mmengine.structures import InstanceData

from mmfusion.fileio.image_writing import DEEP_SUFFIXES
from mmfusion.structures import FusionDataSample
from mmfusion.utils import UserError

#: Files without a picture, beside the fused one.
BESIDE = {'temperatures': '.json'}
IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')


@dataclass
class FusionResult:
    """Fused picture and predictions of one pair.

    Attributes:
        name: Name of the pair: the stem of its files.
        fused: (H, W) or (H, W, 3) uint8 (uint16 with a bit depth of 16) at the size of the sources; None when not kept
            or not computed.
        instances: ``bboxes`` (n, 4) xyxy in pixels of the sources, ``scores``, ``labels``, on the CPU; None when no
            detector ran.
        data_sample: Everything that the task networks predicted; None when none ran.
        boxes_image: Fused picture with boxes, (H, W, 3) uint8; None when not asked for or not kept.
        panel: Sources and fused picture side by side, (H', W', 3) uint8; likewise.
        thermal_image: Thermal source in false color with a scale bar, (H', W', 3) uint8; likewise.
        thermal: For each source with a window of temperatures (``first``, ``second``) its unit, window, minimum,
            maximum and mean; with a scale in degrees also ``boxes``, the same of each detected one. None without a
            window.
        files: Files written, by kind: ``fused``, ``boxes``, ``panel``, ``thermal`` and ``temperatures`` (the facts
            above as JSON).
        registration: Of a pair that was registered on loading: ``matrix`` from pixels of the second image to pixels of
            the first, ``confidence``, ``coverage``; else None.
        skipped: Why nothing was computed: an existing file, or an error that was skipped; empty otherwise.
    """

    name: str
    fused: Optional[np.ndarray] = None
    instances: Optional[InstanceData] = None
    data_sample: Optional[FusionDataSample] = None
    boxes_image: Optional[np.ndarray] = None
    panel: Optional[np.ndarray] = None
    thermal_image: Optional[np.ndarray] = None
    thermal: Optional[dict] = None
    files: Dict[str, str] = field(default_factory=dict)
    skipped: str = ''
    registration: Optional[dict] = None


def output_files(out_dir: Optional[str], name: str, kinds: tuple, suffix: str = '.png') -> Dict[str, str]:
    """Files that one pair's pictures go to.

    Args:
        out_dir: Folder; or, with an image extension, the file of the fused picture, beside which the others get
            ``_boxes`` and ``_panel``.
        name: Name of the pair.
        kinds: Out of ``'fused'``, ``'boxes'``, ``'panel'``, ``'thermal'`` and ``'temperatures'``; the last is a JSON
            file beside the fused picture.
        suffix: Extension of fused pictures in a folder.

    Examples:
        >>> output_files('out', 'a', ('fused', 'panel'))
        {'fused': 'out/a.png', 'panel': 'out/panel/a.png'}
        >>> output_files('x.png', 'a', ('fused', 'panel'))
        {'fused': 'x.png', 'panel': 'x_panel.png'}
    """
    if out_dir is None:
        return {}
    stem, extension = os.path.splitext(str(out_dir))
    single = extension.lower() in IMAGE_SUFFIXES
    found = {}
    for kind in kinds:
        if kind in BESIDE:
            found[kind] = f'{stem}{BESIDE[kind]}' if single else os.path.join(str(out_dir), f'{name}{BESIDE[kind]}')
        elif single:
            found[kind] = f'{stem}{"" if kind == "fused" else "_" + kind}{extension}'
        elif kind == 'fused':
            found[kind] = os.path.join(str(out_dir), f'{name}{suffix}')
        else:
            found[kind] = os.path.join(str(out_dir), kind, f'{name}.png')
    return found


def check_output(out_dir: Optional[str], bit_depth: int, file_format: str) -> None:
    """Refuse 16 bits in files that have 8, before anything is computed.

    Raises:
        UserError: The format of the fused pictures has 8 bits.
    """
    suffix = os.path.splitext(str(out_dir))[1].lower() if out_dir is not None else ''
    suffix = suffix if suffix in IMAGE_SUFFIXES else f'.{file_format}'
    if bit_depth == 16 and out_dir is not None and suffix not in DEEP_SUFFIXES:
        raise UserError(
            f'16 bits (--bit-depth 16) fit into .png and .tif files, not into {suffix}; choose one of these'
        )
