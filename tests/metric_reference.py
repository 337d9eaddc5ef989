"""Outputs of the field's reference programs, for the tests of the metrics: which images, which values, which tolerances."""
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
        values: ``{program: {metric as the program names it: value}}``; None where the program gives NaN. A published section has one
            program, named like the section.
        images: Fused, first (visible) and second (infrared) image, uint8 (1, C, H, W); C = 3 (RGB) in ``'published_vifb_colour'``, else 1.
    """

    name: str
    values: Dict[str, Dict[str, float]]
    images: List[Tensor]


def load(shared_dir: Path) -> dict:
    """The whole file of expected values."""
    return json.loads((shared_dir / 'reference' / 'metrics' / 'expected.json').read_text())


def jobs(shared_dir: Path, section: str = 'full') -> Iterator[Job]:
    """Go through the jobs of a section whose images are there.

    Args:
        shared_dir: The fixture of that name.
        section: One of :data:`SECTIONS`.

    Raises:
        KeyError: No such section.
        FileNotFoundError: An image of a job is missing or unreadable.
    """
    for name, values in load(shared_dir)[section].items():
        pair, fusion = name.split('/')
        original = section == 'published_vifb_colour'
        images = [_read(shared_dir, f'{pair}_{part}', original) for part in (fusion, 'vi', 'ir')]
        if section in CROPS:
            size = CROPS[section]
            top, left = ((length - size) // 2 for length in images[0].shape[-2:])
            images = [image[..., top:top + size, left:left + size].contiguous() for image in images]
        yield Job(name, {section: values} if section.startswith('published') else values, images)


def pairs(shared_dir: Path, section: str, program: str, metric: str) -> Iterator[tuple]:
    """``(job name, expected value, images)`` of one metric of one program; None is handed on as NaN.

    Raises:
        LookupError: The section has no such value at all, so that a test which found nothing to compare fails.
    """
    found = False
    for name, values, images in jobs(shared_dir, section):
        if metric in values.get(program, {}):
            found = True
            value = values[program][metric]
            yield name, float('nan') if value is None else value, images
    if not found:
        raise LookupError(f'{section} has no value {metric} of {program}')


def tolerances(shared_dir: Path, program: str) -> Dict[str, float]:
    """Relative tolerances that the file suggests for a program, by metric; ``'*'`` stands for every other metric, text for a reason why none."""
    suggested = load(shared_dir)['suggested_tolerance_rel'][program.replace('_colour', '')]
    return {name: value for names, value in suggested.items() for name in names.split(',')}


def _read(shared_dir: Path, stem: str, original: bool) -> Tensor:
    path = shared_dir / 'reference' / 'metrics' / 'pairs' / (stem + ('_orig.jpg' if original else '.png'))
    image = cv2.imread(str(path), cv2.IMREAD_COLOR if original else cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f'{path} is missing or no image')
    if original:
        return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)[None].contiguous()
    return torch.from_numpy(image)[None, None]
