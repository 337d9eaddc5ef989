"""Reference values of the metrics for the tests: which images, which values, which tolerances.

With the reference data beside the checkout the values are what the field's programs print for real images. Without it
they are those of ``tests/data/metrics``: rendered images, and the values that mmfusion gave for them when it agreed
with every program on the real ones. These show every later change of a number; ``tests/helpers/record_metrics.py``
writes them.
"""

import json
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

import cv2
import torch
from torch import Tensor

CROPS = {'crop96': 96, 'crop48': 48}
SECTIONS = ('full', 'crop96', 'crop48', 'published_vifb_colour', 'published_tang')


class Job(NamedTuple):
    """One fused image with what the programs print for it.

    Attributes:
        name: Such as ``'tno_a/avg'``.
        values: ``{program: {metric as the program names it: value}}``; None where the program gives NaN. A published
            section has one program, named like the section.
        images: Fused, first (visible) and second (infrared) image, uint8 (1, C, H, W); C = 3 (RGB) in
            ``'published_vifb_colour'``, else 1.
    """

    name: str
    values: Dict[str, Dict[str, float]]
    images: List[Tensor]


def load(folder: Path) -> dict:
    """The whole file of expected values."""
    return json.loads((folder / 'expected.json').read_text())


def jobs(folder: Path, section: str = 'full') -> Iterator[Job]:
    """Go through the jobs of a section whose images are there.

    Args:
        folder: The fixture ``metrics_dir``.
        section: One of :data:`SECTIONS`.

    Raises:
        KeyError: No such section.
        FileNotFoundError: An image of a job is missing or unreadable.
    """
    for name, values in load(folder)[section].items():
        images = images_of(folder, section, name)
        yield Job(name, {section: values} if section.startswith('published') else values, images)


def images_of(folder: Path, section: str, job: str) -> List[Tensor]:
    """Fused, first and second image of a job such as ``'tno_a/avg'``, cut to what the section asks for."""
    pair, fusion = job.split('/')
    original = section == 'published_vifb_colour'
    images = [_read(folder, f'{pair}_{part}', original) for part in (fusion, 'vi', 'ir')]
    if section in CROPS:
        size = CROPS[section]
        top, left = ((length - size) // 2 for length in images[0].shape[-2:])
        images = [image[..., top : top + size, left : left + size].contiguous() for image in images]
    return images


def pairs(folder: Path, section: str, program: str, metric: str) -> Iterator[tuple]:
    """``(job name, expected value, images)`` of one metric of one program; None is handed on as NaN.

    Raises:
        LookupError: The section has no such value at all, so that a test which found nothing to compare fails.
    """
    found = False
    for name, values, images in jobs(folder, section):
        if metric in values.get(program, {}):
            found = True
            value = values[program][metric]
            yield name, float('nan') if value is None else value, images
    if not found:
        raise LookupError(f'{section} has no value {metric} of {program}')


def tolerances(folder: Path, program: str) -> Dict[str, float]:
    """Relative tolerances that the file suggests for a program, by metric; ``'*'`` stands for every other metric, text
    for a reason why none.
    """
    suggested = load(folder)['suggested_tolerance_rel'][program.replace('_colour', '')]
    return {name: value for names, value in suggested.items() for name in names.split(',')}


def _read(folder: Path, stem: str, original: bool) -> Tensor:
    path = folder / 'pairs' / (stem + ('_orig.jpg' if original else '.png'))
    if original and not path.exists():
        path = path.with_suffix('.png')
    image = cv2.imread(str(path), cv2.IMREAD_COLOR if original else cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f'{path} is missing or no image')
    if original:
        return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)[None].contiguous()
    return torch.from_numpy(image)[None, None]
