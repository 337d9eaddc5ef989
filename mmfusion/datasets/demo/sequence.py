"""A rendered scene in motion: what a visible and an infrared camera see of it at any time."""

from typing import List, Sequence, Tuple

import cv2
import numpy as np

from .scenes import CLASSES, draw_scene
from .scenes.background import Surfaces, draw_background
from .scenes.render import compute_radiance, paint_things
from .scenes.scene import Scene, Thing

CAMERAS = ('visible', 'infrared')


class DemoSequence:
    """A street scene before a fixed pair of cameras, whose objects move; the moving counterpart of :class:`DemoPairs`.

    Each object crosses the image at its own speed and comes back on the other side. Background, light and the fixed
    pattern of the infrared camera stay; the noise of each frame depends on the seed, the camera and the time alone.

    Args:
        size: (height, width), at least 64x64.
        seed: Seed of everything.
        num_objects: Least and most objects.
        night_ratio: Probability of a night scene.
        speed: Least and most speed, in widths of the image per second.
        noise: Standard deviation of the noise of both sensors, in [0, 1] of their range.

    Raises:
        ValueError: An argument is out of range.

    Examples:
        >>> sequence = DemoSequence(size=(64, 80), seed=1)
        >>> sequence.render('visible', 0.5).shape, sequence.render('infrared', 0.5).shape
        ((64, 80, 3), (64, 80, 1))
    """

    def __init__(
        self,
        size: Sequence[int] = (128, 160),
        seed: int = 0,
        num_objects: Tuple[int, int] = (3, 6),
        night_ratio: float = 0.5,
        speed: Tuple[float, float] = (0.05, 0.25),
        noise: float = 0.01,
    ) -> None:
        if len(size) != 2 or min(size) < 64 or seed < 0:
            raise ValueError(f'size must be at least (64, 64) and seed at least 0, got {tuple(size)} and {seed}')
        if not 0 <= speed[0] <= speed[1] or noise < 0:
            raise ValueError(f'speed must be 0 <= least <= most and noise at least 0, got {speed} and {noise}')
        self.size, self.seed, self.noise = (int(size[0]), int(size[1])), int(seed), float(noise)
        rng = self._generator(0)
        self.scene = draw_scene(rng, self.size, night_ratio, num_objects, num_distractors=(0, 2))
        signs = rng.choice([-1.0, 1.0], len(self.scene.things))
        self.speeds = signs * rng.uniform(*speed, len(self.scene.things)) * self.size[1]
        self.paces = rng.uniform(0.6, 1.4, len(self.scene.things))
        self.background = draw_background(rng, self.scene)
        self._columns = rng.standard_normal((1, self.size[1]), dtype=np.float32) * np.float32(0.015)

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(3, *key))))

    def scene_at(self, time: float) -> Scene:
        """The scene with its things where they are at ``time`` (seconds)."""
        return self.scene._replace(
            things=[
                self._moved(thing, int(np.floor(left)), pace * time)
                for thing, left, pace in zip(self.scene.things, self._lefts(time), self.paces)
            ]
        )

    def _lefts(self, time: float) -> np.ndarray:
        """Left borders of the things in pixels; what leaves the image comes back on the other side."""
        boxes = np.array([thing.box for thing in self.scene.things], np.float64).reshape(-1, 4)
        widths = boxes[:, 2] - boxes[:, 0]
        return (boxes[:, 0] + self.speeds * time + widths) % (self.size[1] + 2 * widths) - widths

    @staticmethod
    def _moved(thing: Thing, left: int, steps: float) -> Thing:
        x1, y1, x2, y2 = thing.box
        width = x2 - x1
        pose = abs((thing.variant + steps) % 2 - 1) * 0.999 if thing.kind == 'person' else thing.variant
        return thing._replace(box=(left, y1, left + width, y2), variant=pose)

    def render(self, camera: str, time: float) -> np.ndarray:
        """What a camera sees.

        Args:
            camera: ``'visible'`` or ``'infrared'``.
            time: Seconds, at least 0.

        Returns:
            (H, W, 3) BGR or (H, W, 1), uint8.

        Raises:
            ValueError: There is no such camera.
        """
        if camera not in CAMERAS:
            raise ValueError(f'camera must be one of {CAMERAS}, got {camera!r}')
        rng = self._generator(1 + CAMERAS.index(camera), int(round(time * 1e6)))
        image = self._see(camera, time)
        return self._develop(
            camera, image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(self.noise)
        )

    def _inside(self, time: float) -> Tuple[List[Thing], List[float]]:
        """The things in the image, and how far to the right of their boxes they are, in [0, 1) pixels."""
        pairs = zip(self.scene_at(time).things, self._lefts(time) % 1)
        inside = [(thing, float(rest)) for thing, rest in pairs if thing.box[2] > -1 and thing.box[0] < self.size[1]]
        return [thing for thing, _ in inside], [rest for _, rest in inside]

    def _between_pixels(self, scene: Scene, time: float) -> Scene:
        """The scene with boxes that are not rounded, for the light that follows them."""
        boxes = [
            (float(left), thing.box[1], float(left) + thing.box[2] - thing.box[0], thing.box[3])
            for thing, left in zip(scene.things, self._lefts(time))
        ]
        return scene._replace(things=[thing._replace(box=box) for thing, box in zip(scene.things, boxes)])

    def _paint(self, scene: Scene, thing: Thing, rest: float, surfaces: Surfaces) -> None:
        """Paint a thing between two pixels: the mean of both places by their share."""
        x1, y1, x2, y2 = thing.box
        top, bottom = max(y1, 0), min(y2, self.size[0])
        left, right = max(x1, 0), min(x2 + 1, self.size[1])
        if left >= right or top >= bottom:
            return
        around = Surfaces(*(array[top:bottom, left:right] for array in surfaces))
        behind = [array.copy() for array in around]
        painted = []
        for step in (0, 1) if rest else (0,):
            for array, former in zip(around, behind):
                array[...] = former
            box = (x1 + step - left, y1 - top, x2 + step - left, y2 - top)
            if box[2] > 0 and box[0] < right - left:
                paint_things(
                    scene._replace(size=(bottom - top, right - left), things=[thing._replace(box=box)]), around
                )
            painted.append([array.copy() for array in around])
        for array, here, there in zip(around, painted[0], painted[-1]):
            array[...] = (1 - rest) * here + rest * there

    def _see(self, camera: str, time: float) -> np.ndarray:
        """What reaches a camera, (H, W, 1 or 3) float32."""
        scene = self.scene_at(time)
        surfaces = self.background._replace(
            albedo=self.background.albedo.copy(),
            emission=self.background.emission.copy(),
            heat=self.background.heat.copy(),
        )
        for thing, rest in zip(*self._inside(time)):
            self._paint(scene, thing, rest, surfaces)
        if camera == 'visible':
            # lamps and spots come from the same numbers in every frame, so they stay or follow their things
            return compute_radiance(self._generator(3), self._between_pixels(scene, time), surfaces)
        return (cv2.GaussianBlur(surfaces.heat, (5, 5), 0.9) + self._columns)[..., None]

    @staticmethod
    def _develop(camera: str, image: np.ndarray) -> np.ndarray:
        return np.rint(np.clip(image, 0, 1) ** np.float32(0.8 if camera == 'visible' else 1.0) * 255).astype(np.uint8)

    def boxes(self, time: float) -> Tuple[np.ndarray, np.ndarray]:
        """The objects that are in the image at a time.

        Returns:
            (n, 4) float32 xyxy of their whole shapes, cut at the border; (n,) int, index into ``CLASSES``.
        """
        things = [thing for thing in self._inside(time)[0] if thing.labelled]
        boxes = np.array([thing.box for thing in things], np.float32).reshape(-1, 4)
        boxes = boxes.clip(0, [self.size[1], self.size[0], self.size[1], self.size[0]]).astype(np.float32)
        return boxes, np.array([CLASSES.index(thing.kind) for thing in things], int)

    def still(self, times: Sequence[float]) -> np.ndarray:
        """Where nothing moves and no light changes, for either camera: (H, W) bool, True where frames without noise
        differ by a gray level at most.

        Args:
            times: Seconds at which to look, two or more.
        """
        still = np.ones(self.size, bool)
        for camera in CAMERAS:
            frames = np.stack([self._develop(camera, self._see(camera, time)) for time in times])
            still &= (np.ptp(frames, axis=0) <= 1).all(-1)
        return still
