"""Rendered pairs in the official layouts of the data sets, for tests that must not depend on what cannot be passed on.

python tests/helpers/rendered_sets.py FOLDER llvip msrs    # FOLDER/LLVIP, FOLDER/MSRS
"""

import sys
from functools import cache
from pathlib import Path
from typing import Dict, Iterator, Tuple

import cv2
import numpy as np

from mmfusion.datasets import DemoExposurePairs, DemoFocusPairs, DemoPairs

#: Pairs of each part, unless a test asks for others: as many as the largest batch of a base config, and a few to rate.
LENGTHS = dict(train=4, test=5)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@cache
def _rendered(split: str, index: int) -> dict:
    """The item of a pair, small: what counts here are names, sizes and labels."""
    return DemoPairs(length=index + 1, size=(96, 128), num_objects=(2, 4), split=split).get_data_info(index)


def _pairs(lengths: Dict[str, int], size: Tuple[int, int]) -> Iterator[Tuple[str, int, dict]]:
    """Split, number from 1, and item of the pairs of all splits, enlarged to (height, width); every one has objects."""
    height, width = size
    for split, length in lengths.items():
        for index in range(length):
            item = _rendered(split, index)
            images = (item[key] for key in ('first', 'second', 'gt_seg_map'))
            first, second, seg = (
                cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST) for image in images
            )
            scale = np.array([width / item['width'], height / item['height']] * 2)
            instances = [dict(instance, bbox=(scale * instance['bbox']).tolist()) for instance in item['instances']]
            yield (
                split,
                index + 1,
                dict(first=first, second=second, gt_seg_map=seg, instances=instances, height=height, width=width),
            )


def _voc(path: Path, item: dict, names: Tuple[str, ...]) -> None:
    objects = ''
    for instance in item['instances']:
        box = ''.join(
            f'<{tag}>{round(value)}</{tag}>' for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), instance['bbox'])
        )
        objects += f'<object><name>{names[instance["bbox_label"]]}</name><bndbox>{box}</bndbox></object>'
    size = f'<size><width>{item["width"]}</width><height>{item["height"]}</height><depth>3</depth></size>'
    _text(path, f'<annotation>{size}{objects}</annotation>')


def llvip(data: Path, lengths: Dict[str, int] = LENGTHS, size: Tuple[int, int] = (1024, 1280)) -> None:
    """Every object is a person."""
    root = data / 'LLVIP'
    for split, number, item in _pairs(lengths, size):
        name = f'{"01" if split == "train" else "19"}{number:04d}'
        _write(root / 'visible' / split / f'{name}.jpg', item['first'])
        _write(root / 'infrared' / split / f'{name}.jpg', item['second'])
        _voc(root / 'Annotations' / f'{name}.xml', item, ('person',) * 3)


def m3fd(data: Path, size: Tuple[int, int] = (768, 1024)) -> None:
    """With lists of a split, which M3FD itself has not."""
    root, names = data / 'M3FD', {}
    for count, (split, _, item) in enumerate(_pairs(dict(train=4, val=2, test=5), size)):
        name = f'{count:05d}'
        names.setdefault(split, []).append(name)
        _write(root / 'Vis' / f'{name}.png', item['first'])
        _write(root / 'Ir' / f'{name}.png', item['second'])
        _voc(root / 'Annotation' / f'{name}.xml', item, ('People', 'Car', 'Lamp'))
    for split, listed in names.items():
        _text(root / 'splits' / f'{split}.txt', '\n'.join(listed) + '\n')


def msrs(data: Path, lengths: Dict[str, int] = LENGTHS, size: Tuple[int, int] = (480, 640)) -> None:
    """Boxes in YOLO text and class maps; lamps are bicycles."""
    root, (height, width) = data / 'MSRS', size
    _text(root / 'classes.txt', '0 person\n1 bicycle\n2 car\n')
    for split, number, item in _pairs(lengths, size):
        name, rows = f'{number:05d}D', []
        for instance in item['instances']:
            left, top, right, bottom = instance['bbox']
            box = (
                (left + right) / 2 / width,
                (top + bottom) / 2 / height,
                (right - left) / width,
                (bottom - top) / height,
            )
            rows.append(' '.join([str((0, 2, 1)[instance['bbox_label']]), *(f'{value:.6f}' for value in box)]))
        _write(root / split / 'vi' / f'{name}.png', item['first'])
        _write(root / split / 'ir' / f'{name}.png', item['second'])
        _write(
            root / split / 'Segmentation_labels' / f'{name}.png', np.array([0, 2, 1, 3], np.uint8)[item['gt_seg_map']]
        )
        _text(root / split / 'labels' / f'{name}.txt', '\n'.join(rows) + '\n')


def fmb(data: Path, size: Tuple[int, int] = (600, 800)) -> None:
    """Numbers of person, car and traffic light for the objects, of road for the rest."""
    for split, number, item in _pairs(LENGTHS, size):
        root = data / 'FMB' / split
        _write(root / 'Visible' / f'{number:05d}.png', item['first'])
        _write(root / 'Infrared' / f'{number:05d}.png', item['second'])
        _write(root / 'Label' / f'{number:05d}.png', np.array([1, 8, 9, 4], np.uint8)[item['gt_seg_map']])


def mfnet(data: Path, size: Tuple[int, int] = (480, 640)) -> None:
    """The infrared image as the fourth channel."""
    root, names = data / 'MFNet', {}
    for count, (split, _, item) in enumerate(_pairs(dict(train=4, val=2, test=5), size)):
        name = f'{count + 1:05d}D'
        names.setdefault(split, []).append(name)
        _write(root / 'images' / f'{name}.png', np.dstack([item['first'], item['second']]))
        _write(root / 'labels' / f'{name}.png', np.array([0, 2, 1, 3], np.uint8)[item['gt_seg_map']])
    for split, listed in names.items():
        _text(root / f'{split}.txt', '\n'.join(listed) + '\n')


def roadscene(data: Path, size: Tuple[int, int] = (300, 400)) -> None:
    """Two folders without labels."""
    for _, number, item in _pairs(dict(train=5), size):
        _write(data / 'RoadScene' / 'vi' / f'{number}.jpg', item['first'])
        _write(data / 'RoadScene' / 'ir' / f'{number}.jpg', item['second'])


def harvard(data: Path, size: Tuple[int, int] = (256, 256)) -> None:
    """A gray picture beside another one, or beside one in false color; what they show are streets."""
    for _, number, item in _pairs(dict(train=6), size):
        for other in ('CT', 'PET', 'SPECT'):
            folder = data / 'Harvard' / f'MRI_{other}'
            _write(folder / 'MRI' / f'{number + 7}.png', cv2.cvtColor(item['first'], cv2.COLOR_BGR2GRAY))
            _write(
                folder / other / f'{number + 7}.png',
                item['second'] if other == 'CT' else cv2.applyColorMap(item['second'], cv2.COLORMAP_JET),
            )


def _scenes(root: Path, pairs: DemoExposurePairs) -> None:
    for index in range(len(pairs)):
        item, name = pairs.get_data_info(index), f'scene{index:02d}'
        _write(root / 'input' / name / f'{name}_B.jpg', item['first'])
        _write(root / 'input' / name / f'{name}_A.jpg', item['second'])


def mefb(data: Path, size: Tuple[int, int] = (200, 300)) -> None:
    _scenes(data / 'MEFB', DemoExposurePairs(length=14, size=size))


def mfifb(data: Path, size: Tuple[int, int] = (200, 300)) -> None:
    _scenes(data / 'MFIFB', DemoFocusPairs(length=12, size=size))


SETS = dict(
    llvip=llvip,
    m3fd=m3fd,
    msrs=msrs,
    fmb=fmb,
    mfnet=mfnet,
    roadscene=roadscene,
    harvard=harvard,
    mefb=mefb,
    mfifb=mfifb,
)

if __name__ == '__main__':
    for chosen in sys.argv[2:] or SETS:
        SETS[chosen](Path(sys.argv[1]))
