"""A fixed pair of cameras: one transform from many pairs, kept in a small yaml file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np
import yaml

from mmfusion.fileio.plain_yaml import load_yaml
from mmfusion.fileio.reading import read_text
from mmfusion.fileio.whole import write_text
from mmfusion.utils.errors import UserError

from .geometry import MODELS, Shape, check_matrix, corner_distance, corners, lay, transform_points, valid_region

if TYPE_CHECKING:
    from .registering import Registration

FORMAT = 1
LEAST_PAIRS = 3
_OUTLIER = 3.0  # times the median distance from the middle
_CLOSE = 0.5  # pixels of 320: pairs that lie closer are never left out, however small the median
_STEADY = 8.0  # pixels of 320: a rig whose pairs scatter more is none
_DISTORTION = (4, 5, 8, 12, 14)  # numbers of coefficients that OpenCV knows


@dataclass
class Lens:
    """Distortion of a camera, in OpenCV's terms.

    Attributes:
        camera: (3, 3) camera matrix in pixels of the image.
        distortion: k1, k2, p1, p2[, k3[, ...]].
    """

    camera: List[List[float]]
    distortion: List[float]

    def undistort(self, image: np.ndarray) -> np.ndarray:
        """The image without distortion, of the same size and camera matrix."""
        straight = cv2.undistort(image, np.array(self.camera, np.float64), np.array(self.distortion, np.float64))
        return straight[..., None] if straight.ndim < image.ndim else straight


@dataclass
class Rig:
    """Transform of a fixed camera pair.

    Attributes:
        matrix: (3, 3) from pixels of the second image to pixels of the first (both without distortion where lenses are
            given).
        model: Kind of transform.
        first_shape: (height, width) of the first image.
        second_shape: (height, width) of the second.
        pairs: Number of pairs that it was estimated from.
        spread: Median distance of those pairs' corners from this transform, in pixels of the first image.
        lenses: Lens by source, ``'first'`` and ``'second'``; none where the image has no distortion to speak of.
    """

    matrix: np.ndarray
    model: str
    first_shape: Shape
    second_shape: Shape
    pairs: int = 0
    spread: float = 0.0
    lenses: Dict[str, Lens] = field(default_factory=dict)

    def save(self, path: Union[str, Path]) -> None:
        """Write the yaml file, whole or not at all."""
        content = dict(
            format=FORMAT,
            matrix=[[float(value) for value in row] for row in self.matrix],
            model=self.model,
            first_size=list(self.first_shape[::-1]),
            second_size=list(self.second_shape[::-1]),
            pairs=self.pairs,
            spread=round(self.spread, 3),
        )
        lenses = {name: dict(camera=lens.camera, distortion=lens.distortion) for name, lens in self.lenses.items()}
        if lenses:
            content['lenses'] = lenses
        write_text(
            path,
            '# from pixels (x, y, 1) of the second image to pixels of the first; sizes are (width, height)\n'
            + yaml.safe_dump(content, sort_keys=False, default_flow_style=None),
        )

    @classmethod
    def load(cls, path: Union[str, Path]) -> 'Rig':
        """Read a yaml file.

        Raises:
            UserError: It is absent, no rig file, or its values cannot be used; the message names the entry.
        """
        try:
            content = load_yaml(read_text(path))
        except FileNotFoundError:
            raise UserError(
                f'rig file {path} does not exist; `mmfusion register FIRST SECOND --rig {path}` makes one from folders'
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f'rig file {path} cannot be read: {" ".join(str(error).split())}') from None
        if not isinstance(content, dict) or content.get('format') != FORMAT:
            raise UserError(
                f'{path} is no rig file of format {FORMAT}; make it with `mmfusion register FIRST SECOND --rig {path}`'
            )
        shapes = [_shape(content.get(key), key, path) for key in ('first_size', 'second_size')]
        model = content.get('model')
        if not isinstance(model, str) or model not in MODELS:
            raise UserError(f'rig file {path}: model must be one of {", ".join(MODELS)}, got {model!r}')
        lenses = content.get('lenses') or {}
        if not isinstance(lenses, dict):
            raise UserError(
                f"rig file {path}: lenses must have the entries 'first' or 'second', got {type(lenses).__name__}"
            )
        return cls(
            check_matrix(content.get('matrix'), f'matrix of rig file {path}'),
            model,
            *shapes,
            int(_count(content, 'pairs', path)),
            float(_count(content, 'spread', path)),
            {name: _lens(value, name, path) for name, value in lenses.items()},
        )

    def apply(self, first: np.ndarray, second: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both images without distortion, the second on the pixels of the first, and where it is known.

        Returns:
            First image, second image (zero where unknown), (height, width) bool.

        Raises:
            UserError: An image has another size than the rig was made for.
        """
        for name, image, shape in (('first', first, self.first_shape), ('second', second, self.second_shape)):
            if image.shape[:2] != shape:
                raise UserError(
                    f'the {name} image has {image.shape[1]}x{image.shape[0]} pixels, the rig was made for '
                    f'{shape[1]}x{shape[0]}'
                )
        if 'first' in self.lenses:
            first = self.lenses['first'].undistort(first)
        if 'second' in self.lenses:
            second = self.lenses['second'].undistort(second)
        valid = valid_region(self.matrix, self.second_shape, self.first_shape)
        return first, lay(second, self.matrix, valid), valid


def estimate_rig(registrations: Sequence['Registration'], lenses: Optional[Dict[str, Lens]] = None) -> Rig:
    """One transform from the accepted registrations of many pairs.

    The corners of the second image are taken to their median place, pairs whose corners lie more than three times as
    far from it as the median pair, and farther than half a pixel at a width of 320, are left out, and a transform is
    fitted to the mean corners of the rest.

    Args:
        registrations: Results of :func:`~mmfusion.registration.register_pair` of one model; refused ones are left out.
        lenses: Kept in the rig; the pairs must have been registered without distortion.

    Raises:
        UserError: Fewer than three pairs were accepted, sizes or models differ, or the pairs do not agree on one place.
    """
    used = [result for result in registrations if result.accepted]
    if len(used) < LEAST_PAIRS:
        raise UserError(
            f'{len(used)} of {len(registrations)} pairs could be registered; a rig needs at least {LEAST_PAIRS}. '
            'Take pairs with more structure in both images'
        )
    if len({(result.model, result.first_shape, result.second_shape) for result in used}) > 1:
        raise UserError('the pairs of a rig must have the same sizes and the same transform model')
    model, first, second = used[0].model, used[0].first_shape, used[0].second_shape
    points = corners(second)
    places = np.stack([transform_points(result.matrix, points) for result in used])
    distance = np.linalg.norm(places - np.median(places, axis=0), axis=2).mean(1)
    unit = first[1] / 320
    kept = places[distance <= max(_OUTLIER * np.median(distance), _CLOSE * unit)]
    matrix = _fit(model, points, kept.mean(0))
    spread = float(np.median([corner_distance(result.matrix, matrix, second) for result in used]))
    if spread > _STEADY * unit:
        raise UserError(
            f'the pairs do not agree: their corners lie {spread:.1f} pixels from the common transform (median); '
            'is this one fixed pair of cameras?'
        )
    return Rig(matrix, model, first, second, len(kept), spread, dict(lenses or {}))


def _fit(model: str, points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Least-squares transform of corners to their places."""
    if model == 'homography':
        return check_matrix(cv2.findHomography(points, targets)[0])
    matrix = np.eye(3)
    if model == 'translation':
        matrix[:2, 2] = (targets - points).mean(0)
        return matrix
    x, y = points.T
    one, zero = np.ones(len(points)), np.zeros(len(points))
    if model == 'affine':
        matrix[:2] = np.linalg.lstsq(np.c_[x, y, one], targets, rcond=None)[0].T
        return matrix
    system = np.concatenate([np.c_[x, -y, one, zero], np.c_[y, x, zero, one]])
    cosine, sine, right, down = np.linalg.lstsq(system, targets.T.reshape(-1), rcond=None)[0]
    matrix[:2] = [[cosine, -sine, right], [sine, cosine, down]]
    return matrix


def _shape(value, key: str, path) -> Shape:
    if not (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(length, int) and 0 < length < 1e6 for length in value)
    ):
        raise UserError(f'rig file {path}: {key} must be [width, height], got {value!r}')
    return value[1], value[0]


def _count(content: dict, key: str, path) -> float:
    value = content.get(key) or 0
    if not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise UserError(f'rig file {path}: {key} must be a number of at least 0, got {value!r}')
    return value


def _lens(value, name: str, path) -> Lens:
    if name not in ('first', 'second') or not isinstance(value, dict) or set(value) != {'camera', 'distortion'}:
        raise UserError(
            f"rig file {path}: lenses may have the entries 'first' and 'second', each with camera and distortion"
        )
    camera = check_matrix(value['camera'], f'camera of the {name} lens in {path}')
    try:
        distortion = np.array(value['distortion'], np.float64)
    except (TypeError, ValueError, OverflowError):
        distortion = np.array([np.nan])
    if distortion.ndim != 1 or len(distortion) not in _DISTORTION or not np.isfinite(distortion).all():
        raise UserError(
            f'rig file {path}: distortion of the {name} lens must be {", ".join(map(str, _DISTORTION))} numbers, '
            f'as OpenCV has them'
        )
    return Lens(camera.tolist(), distortion.tolist())
