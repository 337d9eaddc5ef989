"""Color cameras that look at a demo scene with two exposures, or with two planes in focus."""

from typing import NamedTuple, Tuple

import cv2
import numpy as np

from . import shapes
from .background import smooth_noise
from .render import render_radiance
from .scene import draw_scene

_GAMMA = 1 / 2.2


class ExposurePair(NamedTuple):
    """Two exposures of one scene.

    Attributes:
        over: (H, W, 3) uint8 BGR, highlights clipped.
        under: The same, shadows lost in noise and quantization.
        radiance: (H, W, 3) BGR float32, the light itself.
    """

    over: np.ndarray
    under: np.ndarray
    radiance: np.ndarray


class FocusPair(NamedTuple):
    """A scene of two planes, with one of them in focus each time.

    Attributes:
        far: (H, W, 3) uint8 BGR, the far plane in focus.
        near: The same with the near plane in focus.
        sharp: The same with both in focus; what perfect fusion gives, but for noise.
        near_mask: (H, W) bool, True where the near plane is.
    """

    far: np.ndarray
    near: np.ndarray
    sharp: np.ndarray
    near_mask: np.ndarray


def _develop(image: np.ndarray) -> np.ndarray:
    """Linear light, clipped at 1, to 8 bits."""
    return np.rint(np.clip(image, 0, 1) ** np.float32(_GAMMA) * 255).astype(np.uint8)


def _expose(rng: np.random.Generator, radiance: np.ndarray, stops: float) -> np.ndarray:
    """Take a picture; its noise is that of the photons and of the sensor, so the short exposure has more in its
    shadows.
    """
    light = radiance * np.float32(2**stops)
    spread = np.sqrt(np.float32(2e-4) * light + np.float32(4e-6))
    return _develop(light + rng.standard_normal(light.shape, dtype=np.float32) * spread)


def render_exposures(
    rng: np.random.Generator, size: Tuple[int, int], night_ratio: float, stops: Tuple[float, float]
) -> ExposurePair:
    """Render a scene with deep shade and strong light in it, over- and underexposed.

    Args:
        rng: Source of all randomness.
        size: (height, width) in pixels.
        night_ratio: Probability of a night scene.
        stops: Least and most distance of the two exposures, in stops (powers of two).
    """
    scene = draw_scene(rng, size, night_ratio, single_modality_ratio=0.0)
    radiance = render_radiance(rng, scene)
    # shade and sun have soft edges and lie up to 2.5 stops above and below the light of the scene
    shade = np.tanh(2 * smooth_noise(rng, size, max(size) // 3))
    radiance = radiance * np.exp2(np.float32(rng.uniform(1.5, 2.5)) * shade)[..., None]
    radiance *= np.float32(0.25 / max(float(radiance.mean()), 1e-3))
    half = rng.uniform(*stops) / 2
    return ExposurePair(_expose(rng, radiance, half), _expose(rng, radiance, -half), radiance)


def _disc(radius: float) -> np.ndarray:
    """Normalized kernel of a round lens opening, with an edge as soft as a pixel."""
    reach = int(np.ceil(radius + 0.5))
    distance = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]).astype(np.float32)
    kernel = np.clip(radius + 0.5 - distance, 0, 1)
    return kernel / kernel.sum()


def _blur(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)


def _near_plane(rng: np.random.Generator, size: Tuple[int, int]) -> Tuple[np.ndarray, np.ndarray]:
    """A few large things close to the camera: their light (H, W, 3) and where they are (H, W) in {0, 1}."""
    height, width = size
    mask, image = np.zeros(size, np.uint8), np.zeros((*size, 3), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        kind = str(rng.choice(['person', 'car']))
        tall = int(height * (rng.uniform(0.6, 0.95) if kind == 'person' else rng.uniform(0.35, 0.55)))
        wide = int(tall * (rng.uniform(0.4, 0.5) if kind == 'person' else rng.uniform(1.4, 1.8)))
        parts = shapes.draw_parts(kind, tall, wide, float(rng.uniform()), bool(rng.uniform() < 0.5))
        left, top = int(rng.uniform(0, width) - wide / 2), int(height * rng.uniform(0.95, 1.1) - tall)
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + wide, width), min(top + tall, height)
        parts = parts[y1 - top : y2 - top, x1 - left : x2 - left]
        tones = rng.uniform(0.05, 0.8, (shapes.NUM_PARTS, 3)).astype(np.float32)
        image[y1:y2, x1:x2][parts > 0] = tones[parts[parts > 0]]
        mask[y1:y2, x1:x2] |= (parts > 0).astype(np.uint8)
    # cloth and dirt: without texture nobody could tell what is in focus
    grain = 1 + 0.25 * smooth_noise(rng, size, 2) + 0.15 * smooth_noise(rng, size, 5)
    return image * np.clip(grain, 0.2, 2)[..., None], mask.astype(np.float32)


def render_focus(
    rng: np.random.Generator, size: Tuple[int, int], night_ratio: float, blur: Tuple[float, float]
) -> FocusPair:
    """Render things close to the camera before a scene, with either in focus.

    The near plane out of focus spreads over the edge of the far one, as in a real lens: no rule that takes pixels from
    either image is perfect there.

    Args:
        rng: Source of all randomness.
        size: (height, width) in pixels.
        night_ratio: Probability of a night scene.
        blur: Least and most radius of the blur, relative to the height of the image.
    """
    far = render_radiance(rng, draw_scene(rng, size, night_ratio, num_distractors=(0, 1), single_modality_ratio=0.0))
    near, mask = _near_plane(rng, size)
    mask, kernel = mask[..., None], _disc(size[0] * rng.uniform(*blur))
    near *= mask
    near_blurred, mask_blurred = _blur(near, kernel), _blur(mask, kernel)[..., None]
    images = dict(far=near_blurred + (1 - mask_blurred) * far, near=near + (1 - mask) * _blur(far, kernel))
    noisy = {
        name: image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.004)
        for name, image in images.items()
    }
    return FocusPair(
        **{name: _develop(image) for name, image in noisy.items()},
        sharp=_develop(near + (1 - mask) * far),
        near_mask=mask[..., 0] > 0,
    )
