"""Layout of a demo scene: objects, their places, and their looks for each camera, drawn from a random generator."""

from typing import List, NamedTuple, Tuple

import numpy as np

CLASSES = ('person', 'car', 'lamp')
# How an object shows: in both images, or melting into the background of one of them.
BOTH, INFRARED_ONLY, VISIBLE_ONLY = 'both', 'infrared_only', 'visible_only'
# Things that are no objects, though one camera takes them for such; the other one disproves it.
COLD_DUMMY, WARM_CRATE = 'cold_dummy', 'warm_crate'


class Thing(NamedTuple):
    """An object or a distractor.

    Attributes:
        kind: Name of the shape, one of :data:`CLASSES`.
        look: One of the five constants above; the last two are distractors and carry no label.
        box: (x1, y1, x2, y2) of the whole shape in integer pixels; may exceed the image.
        variant: Number in [0, 1) that chooses the pose.
        flip: Mirrored.
        color: BGR albedo in [0, 1] of its main part.
        warmth: Temperature above the background, in [0, 1] of the infrared range.
    """

    kind: str
    look: str
    box: Tuple[int, int, int, int]
    variant: float
    flip: bool
    color: Tuple[float, float, float]
    warmth: float

    @property
    def labelled(self) -> bool:
        """Whether the thing is an object."""
        return self.look not in (COLD_DUMMY, WARM_CRATE)


class Scene(NamedTuple):
    """A whole scene.

    Attributes:
        size: (height, width).
        night: Whether it is night.
        horizon: Row of the horizon.
        things: Objects and distractors from far to near.
    """

    size: Tuple[int, int]
    night: bool
    horizon: int
    things: List[Thing]


def _draw_box(rng: np.random.Generator, kind: str, size: Tuple[int, int], horizon: int) -> Tuple[int, int, int, int]:
    """Place a shape on the ground; what stands lower in the image is nearer and larger."""
    height, width = size
    depth = rng.uniform(0.12, 1.0)
    foot = horizon + depth * (height - horizon) * 0.97
    person = height * (0.15 + 0.27 * depth)
    if kind == 'person':
        tall, wide = person, person * rng.uniform(0.36, 0.46)
    elif kind == 'car':
        tall = person * rng.uniform(0.62, 0.75)
        wide = tall * rng.uniform(1.7, 2.1)
    else:
        tall = person * rng.uniform(1.15, 1.4)
        wide = tall * rng.uniform(0.26, 0.32)
    center = rng.uniform(0.02, 0.98) * width
    return int(center - wide / 2), int(foot - tall), int(center + wide / 2) + 1, int(foot) + 1


def _covered(box: Tuple[int, ...], other: Tuple[int, ...]) -> float:
    """Intersection over the smaller area."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))


def _draw_color(rng: np.random.Generator, look: str) -> Tuple[float, float, float]:
    if look == WARM_CRATE:
        return float(rng.uniform(0.0, 0.15)), float(rng.uniform(0.4, 0.65)), float(rng.uniform(0.8, 1.0))
    base = rng.uniform(0.08, 0.35) if rng.uniform() < 0.4 else rng.uniform(0.6, 1.0)
    return tuple(float(value) for value in np.clip(base + rng.normal(0, 0.14, 3), 0.03, 1.0))


def draw_scene(
    rng: np.random.Generator,
    size: Tuple[int, int],
    night_ratio: float = 0.5,
    num_objects: Tuple[int, int] = (2, 6),
    num_distractors: Tuple[int, int] = (1, 3),
    single_modality_ratio: float = 0.6,
) -> Scene:
    """Draw one scene.

    Args:
        rng: Source of all randomness.
        size: (height, width) in pixels.
        night_ratio: Probability of a night scene.
        num_objects: Least and most number of objects; some may be left out where there is no room.
        num_distractors: The same for distractors.
        single_modality_ratio: Part of the objects that show in one image only, half of them in each.
    """
    height, width = size
    horizon = int(height * rng.uniform(0.3, 0.42))
    night = bool(rng.uniform() < night_ratio)
    single = single_modality_ratio / 2
    chances = [1 - 2 * single, single, single]
    looks = list(
        rng.choice(
            [BOTH, INFRARED_ONLY, VISIBLE_ONLY], size=rng.integers(num_objects[0], num_objects[1] + 1), p=chances
        )
    )
    looks += list(rng.choice([COLD_DUMMY, WARM_CRATE], size=rng.integers(num_distractors[0], num_distractors[1] + 1)))
    things: List[Thing] = []
    for look in looks:
        labelled = look not in (COLD_DUMMY, WARM_CRATE)
        kind = str(rng.choice(CLASSES, p=[0.45, 0.33, 0.22] if labelled else [0.55, 0.35, 0.1]))
        for _ in range(12):
            box = _draw_box(rng, kind, size, horizon)
            inside = _covered(box, (0, 0, width, height))
            if inside > 0.65 and all(
                _covered(box, thing.box) < (0.45 if labelled and thing.labelled else 0.15) for thing in things
            ):
                variant, flip = float(rng.uniform()), bool(rng.uniform() < 0.5)
                things.append(
                    Thing(kind, str(look), box, variant, flip, _draw_color(rng, look), float(rng.uniform(0.17, 0.4)))
                )
                break
    return Scene(size, night, horizon, sorted(things, key=lambda thing: thing.box[3]))
