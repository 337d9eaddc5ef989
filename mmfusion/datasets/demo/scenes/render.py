"""Rendering of a demo scene for two cameras: exact masks and boxes, light, optics and sensor noise."""

from typing import List, NamedTuple, Tuple

import cv2
import numpy as np

from . import shapes
from .background import Surfaces, draw_background
from .scene import BOTH, CLASSES, COLD_DUMMY, INFRARED_ONLY, VISIBLE_ONLY, WARM_CRATE, Scene, Thing

# By part number. Reflectance relative to the thing's color (negative: a gray of its own), and temperature relative to
# its warmth.
_PAINT = np.zeros((shapes.NUM_PARTS,), np.float32)
_PAINT[[shapes.BODY, shapes.HEAD, shapes.LIMB, shapes.LEGS]] = 1.0, -0.55, 0.85, 0.6
_PAINT[[shapes.GLASS, shapes.WHEEL, shapes.HOOD, shapes.LIGHT, shapes.POLE]] = -0.1, -0.06, 0.92, -0.9, -0.25
_WARMTH = np.zeros((shapes.NUM_PARTS,), np.float32)
_WARMTH[[shapes.BODY, shapes.HEAD, shapes.LIMB, shapes.LEGS]] = 0.8, 1.15, 0.9, 0.72
_WARMTH[[shapes.GLASS, shapes.WHEEL, shapes.HOOD, shapes.LIGHT, shapes.POLE]] = -0.1, 1.0, 1.2, 1.2, 0.45
_CAR_BODY_WARMTH = 0.45
_HIDDEN = 0.06  # how much of itself a thing shows in the image that it melts into
_MIN_VISIBLE = 0.3  # objects of which less is seen are ignored


class RenderedPair(NamedTuple):
    """Images and labels of one scene.

    Attributes:
        visible: (H, W, 3) uint8 BGR.
        infrared: (H, W, 1) uint8.
        boxes: (n, 4) float32 xyxy, tight around the part of each object that is not covered by a nearer thing; x2 and
            y2 are exclusive.
        labels: (n, ) int, index into :data:`CLASSES`.
        ignored: (n, ) bool, True where most of the object is covered or outside.
        looks: (n, ) names of how each object shows, see ``scene.py``.
        instance_map: (H, W) uint8, 0 background, k for the object of row k - 1 in ``boxes``.
        seg_map: (H, W) uint8, 0 background, label + 1 otherwise.
    """

    visible: np.ndarray
    infrared: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    looks: Tuple[str, ...]
    instance_map: np.ndarray
    seg_map: np.ndarray


def _window(thing: Thing, size: Tuple[int, int]) -> Tuple[tuple, np.ndarray]:
    """The part of the image that a thing covers, and its parts there."""
    x1, y1, x2, y2 = thing.box
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, size[1]), min(y2, size[0])
    parts = shapes.draw_parts(thing.kind, y2 - y1, x2 - x1, thing.variant, thing.flip)
    return np.s_[top:bottom, left:right], parts[top - y1 : bottom - y1, left - x1 : right - x1]


def _paint_visible(thing: Thing, parts: np.ndarray) -> np.ndarray:
    """(h, w, 3) reflectance of a thing."""
    if thing.look == WARM_CRATE:  # stripes: plainly no person or car
        stripes = (np.add.outer(np.arange(parts.shape[0]), np.arange(parts.shape[1])) // 4 % 2).astype(np.float32)
        return (0.08 + 0.92 * stripes)[..., None] * np.array(thing.color, np.float32)
    factors = _PAINT[parts][..., None]
    own = np.where(factors > 0, factors * np.array(thing.color, np.float32), -factors)
    shade = np.linspace(1.15, 0.8, parts.shape[1], dtype=np.float32)[None, :, None]  # light from the left
    return own * shade


def _paint_heat(thing: Thing, parts: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """(h, w) temperature of a thing in front of a background."""
    base = float(behind.mean())
    if thing.look == COLD_DUMMY:  # metal and foil mirror the cold sky
        return np.full_like(behind, max(base - 0.17, 0.03))
    warmth = _WARMTH.copy()
    if thing.kind == 'car':
        warmth[shapes.BODY] = _CAR_BODY_WARMTH
    return base + thing.warmth * warmth[parts]


def paint_things(scene: Scene, surfaces: Surfaces) -> np.ndarray:
    """Paint all things from far to near; returns the map of their numbers (from 1)."""
    owner = np.zeros(scene.size, np.uint8)
    albedo, heat = surfaces.albedo.copy(), surfaces.heat.copy()
    for number, thing in enumerate(scene.things, 1):
        window, parts = _window(thing, scene.size)
        mask = parts > 0
        paint, warm = _paint_visible(thing, parts), _paint_heat(thing, parts, heat[window])
        seen = (
            np.ones_like(mask) if thing.look == WARM_CRATE else mask
        )  # the crate is a box, its warm spot has the shape
        show = _HIDDEN if thing.look == INFRARED_ONLY else 1.0
        surfaces.albedo[window][seen] = (1 - show) * albedo[window][seen] + show * paint[seen]
        surfaces.emission[window][seen] = 0
        if thing.look == WARM_CRATE:
            surfaces.heat[window][seen] = heat[window][seen]
        show = _HIDDEN if thing.look == VISIBLE_ONLY else 1.0
        surfaces.heat[window][mask] = (1 - show) * heat[window][mask] + show * warm[mask]
        owner[window][seen] = number
        if scene.night and thing.look in (BOTH, VISIBLE_ONLY, COLD_DUMMY) and thing.kind != 'person':
            surfaces.emission[window][parts == shapes.LIGHT] = (0.75, 0.92, 1.0)
    return owner


def _spot(size: Tuple[int, int], x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """A round light on the ground, (H, W), 1 at its center."""
    across = np.exp(-0.5 * ((np.arange(size[1], dtype=np.float32) - x) / radius_x) ** 2)
    down = np.exp(-0.5 * ((np.arange(size[0], dtype=np.float32) - y) / radius_y) ** 2)
    return down[:, None] * across


def _light(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Illumination (H, W): sun and shade by day; by night a dim sky, street lights, and a light on everything that the
    visible camera shall see.
    """
    height, width = scene.size
    if not scene.night:
        light = 0.75 + 0.2 * np.linspace(-1, 1, width, dtype=np.float32)[None] * rng.choice([-1.0, 1.0]) * np.ones(
            (height, 1), np.float32
        )
        return light.astype(np.float32) * np.float32(rng.uniform(0.8, 1.1))
    light = np.full(scene.size, rng.uniform(0.1, 0.2), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        light += 0.35 * _spot(
            scene.size, rng.uniform(0, width), rng.uniform(scene.horizon, height), width * 0.12, height * 0.12
        )
    for thing in scene.things:
        x1, y1, x2, y2 = thing.box
        if thing.look in (VISIBLE_ONLY, COLD_DUMMY, WARM_CRATE):
            light += rng.uniform(0.4, 0.6) * _spot(
                scene.size, (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * 0.6 + 3, (y2 - y1) * 0.5 + 3
            )
        elif thing.look == BOTH:
            light += rng.uniform(0.1, 0.4) * _spot(
                scene.size, (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * 0.6 + 3, (y2 - y1) * 0.5 + 3
            )
    return light


def compute_radiance(rng: np.random.Generator, scene: Scene, surfaces: Surfaces) -> np.ndarray:
    """Light that reaches a color camera, (H, W, 3) BGR, 1 for white in good light."""
    image = surfaces.albedo * _light(rng, scene)[..., None]
    if scene.night:
        image *= np.array([1.08, 1.0, 0.9], np.float32)
        glow = cv2.GaussianBlur(surfaces.emission, (0, 0), scene.size[0] / 40)
        image += surfaces.emission * 0.8 + glow * 0.9
    return cv2.GaussianBlur(image, (3, 3), 0.6)


def _visible_camera(rng: np.random.Generator, scene: Scene, surfaces: Surfaces) -> np.ndarray:
    image = compute_radiance(rng, scene, surfaces)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.065 if scene.night else 0.035)
    return np.rint(np.clip(image, 0, 1) ** np.float32(0.8) * 255).astype(np.uint8)


def render_radiance(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """The light of a scene before any sensor, (H, W, 3) BGR float32, 1 for white in good light.

    Args:
        rng: Source of the background and the light.
        scene: Result of :func:`draw_scene`.
    """
    surfaces = draw_background(rng, scene)
    paint_things(scene, surfaces)
    return compute_radiance(rng, scene, surfaces)


def _infrared_camera(rng: np.random.Generator, surfaces: Surfaces) -> np.ndarray:
    image = cv2.GaussianBlur(surfaces.heat, (5, 5), 0.9)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.03)
    image += rng.standard_normal((1, image.shape[1]), dtype=np.float32) * np.float32(
        0.015
    )  # fixed pattern of the columns
    return np.rint(np.clip(image * np.float32(rng.uniform(0.9, 1.05)), 0, 1) * 255).astype(np.uint8)[..., None]


def render_pair(rng: np.random.Generator, scene: Scene) -> RenderedPair:
    """Render a scene.

    Args:
        rng: Source of the background, the light and the noise.
        scene: Result of :func:`draw_scene`.
    """
    surfaces = draw_background(rng, scene)
    owner = paint_things(scene, surfaces)
    boxes: List[tuple] = []
    labels, ignored, looks = [], [], []
    new_number = np.zeros(len(scene.things) + 1, np.uint8)
    for number, thing in enumerate(scene.things, 1):
        if not thing.labelled:
            continue
        window, parts = _window(thing, scene.size)
        own = (owner[window] == number).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(own)
        if width == 0:
            continue
        whole = np.count_nonzero(
            shapes.draw_parts(thing.kind, thing.box[3] - thing.box[1], thing.box[2] - thing.box[0], thing.variant)
        )
        top, left = window[0].start, window[1].start
        boxes.append((left + x, top + y, left + x + width, top + y + height))
        labels.append(CLASSES.index(thing.kind))
        ignored.append(bool(np.count_nonzero(own) < _MIN_VISIBLE * whole or min(width, height) < 4))
        looks.append(thing.look)
        new_number[number] = len(boxes)
    instance_map = new_number[owner]
    seg_map = np.array([0] + [label + 1 for label in labels], np.uint8)[instance_map]
    return RenderedPair(
        visible=_visible_camera(rng, scene, surfaces),
        infrared=_infrared_camera(rng, surfaces),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        ignored=np.array(ignored, bool),
        looks=tuple(looks),
        instance_map=instance_map,
        seg_map=seg_map,
    )
