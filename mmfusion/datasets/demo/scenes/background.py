"""The background of a demo scene: sky, houses, trees, ground and a road, as reflectance and as temperature."""

from typing import NamedTuple, Tuple

import cv2
import numpy as np

from .scene import Scene


class Surfaces(NamedTuple):
    """What the two cameras would see without sensors and light.

    Attributes:
        albedo: (H, W, 3) BGR reflectance, float32.
        emission: (H, W, 3) BGR light that the surface sends out itself, float32.
        heat: (H, W) temperature in [0, 1] of the infrared range, float32.
    """

    albedo: np.ndarray
    emission: np.ndarray
    heat: np.ndarray


def smooth_noise(rng: np.random.Generator, size: Tuple[int, int], cell: int) -> np.ndarray:
    """Noise of about unit spread that varies over ``cell`` pixels, (H, W) float32."""
    height, width = size
    grid = rng.standard_normal((height // cell + 2, width // cell + 2), dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def _houses(rng: np.random.Generator, scene: Scene, surfaces: Surfaces) -> None:
    """Fronts with windows along the horizon; some windows are lit at night, and some are warm."""
    height, width = scene.size
    left = -int(rng.integers(0, 12))
    while left < width:
        wide = int(width * rng.uniform(0.12, 0.28))
        if rng.uniform() < 0.75:
            top = int(scene.horizon * rng.uniform(0.05, 0.6))
            x1, x2, bottom = max(left, 0), min(left + wide, width), scene.horizon + 2
            if x2 - x1 > 3:
                tone = rng.uniform(0.25, 0.7)
                surfaces.albedo[top:bottom, x1:x2] = np.clip(tone + rng.normal(0, 0.06, 3), 0.05, 1)
                surfaces.heat[top:bottom, x1:x2] = rng.uniform(0.26, 0.42)
                step = max(5, height // 20)
                for y in range(top + 3, bottom - step, step + 2):
                    for x in range(x1 + 3, x2 - 4, step):
                        kind = rng.uniform()
                        window = np.s_[y : y + step // 2 + 1, x : x + step // 2]
                        surfaces.albedo[window] = 0.15
                        if scene.night and kind < 0.3:
                            surfaces.emission[window] = (0.25, 0.5, 0.6)
                        surfaces.heat[window] += 0.16 if kind > 0.7 else -0.05
        left += wide + int(rng.integers(0, 8))


def _trees(rng: np.random.Generator, scene: Scene, surfaces: Surfaces) -> None:
    height, width = scene.size
    canvas = np.zeros(scene.size, np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        x, radius = rng.uniform(0, width), height * rng.uniform(0.05, 0.11)
        for _ in range(5):
            center = (
                int(x + rng.normal(0, radius * 0.6)),
                int(scene.horizon - radius * 0.5 + rng.normal(0, radius * 0.5)),
            )
            cv2.circle(canvas, center, int(radius * rng.uniform(0.5, 0.9)) + 1, 1, -1)
    leaves = canvas > 0
    surfaces.albedo[leaves] = (0.12, 0.3, 0.17)
    surfaces.heat[leaves] = 0.27


def _road(rng: np.random.Generator, scene: Scene, surfaces: Surfaces) -> None:
    height, width = scene.size
    vanishing, center, half = (
        rng.uniform(0.3, 0.7) * width,
        rng.uniform(0.3, 0.7) * width,
        rng.uniform(0.35, 0.6) * width,
    )
    mask = np.zeros(scene.size, np.uint8)
    corners = [
        (vanishing - 3, scene.horizon),
        (vanishing + 3, scene.horizon),
        (center + half, height),
        (center - half, height),
    ]
    cv2.fillConvexPoly(mask, np.array(corners, np.int32), 1)
    for start in np.linspace(0.1, 0.9, 5):
        ends = []
        for t in (start, start + 0.08):
            ends.append((int(vanishing + (center - vanishing) * t), int(scene.horizon + (height - scene.horizon) * t)))
        cv2.line(mask, ends[0], ends[1], 2, 1 + int(2 * start))
    surfaces.albedo[mask == 1] = rng.uniform(0.22, 0.34)
    surfaces.albedo[mask == 2] = 0.85
    surfaces.heat[mask > 0] += rng.uniform(-0.03, 0.07)


def draw_background(rng: np.random.Generator, scene: Scene) -> Surfaces:
    """Draw the surfaces behind the objects."""
    height, width = scene.size
    albedo = np.empty((height, width, 3), np.float32)
    heat = np.empty((height, width), np.float32)
    surfaces = Surfaces(albedo, np.zeros_like(albedo), heat)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    sky = np.s_[: scene.horizon]
    albedo[sky] = (np.array([0.95, 0.8, 0.62], np.float32) * (0.75 + 0.4 * rows[sky]))[:, None]
    heat[sky] = 0.06 + 0.12 * rows[sky]
    ground = np.s_[scene.horizon :]
    albedo[ground] = np.clip(np.array([0.27, 0.36, 0.36]) + rng.normal(0, 0.05, 3), 0.05, 1)
    heat[ground] = rng.uniform(0.28, 0.38) + 0.08 * (rows[ground] - 0.5)
    _road(rng, scene, surfaces)
    _houses(rng, scene, surfaces)
    _trees(rng, scene, surfaces)
    # Texture: coarse patches that both cameras see in their own way, and a fine grain of the reflectance.
    albedo *= (
        1 + 0.12 * smooth_noise(rng, scene.size, 12)[..., None] + 0.1 * smooth_noise(rng, scene.size, 2)[..., None]
    )
    heat += 0.04 * smooth_noise(rng, scene.size, 16) + 0.02 * smooth_noise(rng, scene.size, 4)
    np.clip(albedo, 0.02, 1, out=albedo)
    np.clip(heat, 0.02, 0.6, out=heat)
    return surfaces
