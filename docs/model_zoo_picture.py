"""Draw docs/en/images/model_zoo.jpg: rendered scenes by day, at night, with smoke and with glare, and what trained
fusers make of them.

python docs/model_zoo_picture.py [NAME ...] (default: the default model)
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import DemoPairs
from mmfusion.model_zoo import DEFAULT_MODEL

SIZE = (192, 256)
GAP = 6


def smoke(visible, rng):
    """White smoke over part of the visible image."""
    height, width = visible.shape[:2]
    noise = cv2.resize(rng.random((4, 5)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.random((16, 20)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    density = np.clip(1.9 * (0.8 * noise + 0.2 * fine) - 0.35, 0, 0.92)[..., None]
    return np.uint8(visible * (1 - density) + 205 * density)


def glare(visible, rng):
    """Lamps that blind the visible camera."""
    height, width = visible.shape[:2]
    y, x = np.mgrid[:height, :width]
    light = np.zeros((height, width))
    for center in ((0.33, 0.55), (0.45, 0.56)):
        distance = np.hypot(x - center[0] * width, y - center[1] * height)
        light += 330 * np.exp(-((distance / 9) ** 2)) + 120 * np.exp(-distance / 38)
    return np.uint8(np.clip(visible + light[..., None], 0, 255))


def scenes():
    """Name, visible (RGB) and infrared image of each."""
    rng = np.random.default_rng(3)
    by = dict(day=0.0, night=1.0)
    for name, time, index, change in (
        ('day', 'day', 4, None),
        ('night', 'night', 1, None),
        ('smoke', 'day', 7, smoke),
        ('glare', 'night', 9, glare),
    ):
        pair = DemoPairs(length=12, size=SIZE, split='test', seed=11, night_ratio=by[time], num_objects=(4, 7)).render(
            index
        )
        visible = pair.visible[..., ::-1].copy()
        yield name, visible if change is None else change(visible, rng), pair.infrared[..., 0]


def main(names):
    """Draw one column for each scene; the rows are both sources, then a row for each model."""
    fusers = [FusionInferencer(name) for name in names]
    columns = []
    for _, visible, infrared in scenes():
        pictures = [
            visible,
            np.repeat(infrared[..., None], 3, axis=2),
            *(fuse(visible, infrared)[0].fused for fuse in fusers),
        ]
        padded = [
            cv2.copyMakeBorder(picture, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
            for picture in pictures
        ]
        columns.append(np.vstack(padded))
    picture = np.hstack(columns)[:-GAP, :-GAP]
    cv2.imwrite(
        str(Path(__file__).parent / 'en' / 'images' / 'model_zoo.jpg'),
        picture[..., ::-1],
        [cv2.IMWRITE_JPEG_QUALITY, 88],
    )


if __name__ == '__main__':
    main(sys.argv[1:] or [DEFAULT_MODEL])
