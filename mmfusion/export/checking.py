"""Comparison of an exported graph with the network that it was made from."""

from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch
from torch import nn

from mmfusion.utils import UserError

from .detectors import BOXES, LABELS, SCORES
from .graph import FLOATS, FUSED
from .tasks import CLASS_MAP

MAX_DIFFERENCE = 1e-5  # of the fused picture in [0, 1]
MAX_LEVELS, MAX_SHARE = 1, 1e-4  # gray levels, and share of the values that may differ by them
MAX_BOX_SHIFT, MAX_SCORE_SHIFT = 0.1, 1e-3  # pixels
MAX_LOST = 0.01  # boxes whose overlap lies at the threshold of suppression go one way or the other
SEED = 0


class SizeCheck(NamedTuple):
    """What came of one size.

    Attributes:
        shape: (N, H, W).
        difference: Largest difference of the fused picture in [0, 1].
        levels: Largest difference in gray levels.
        share: Share of values of the 8-bit picture that differ.
        classes: Share of pixels of the class map that differ; 0 without one.
        lost: Share of boxes without a partner of the same class within 0.1 pixels and 0.001 of the score, of both
            sides; 0 without a detector.
    """

    shape: Tuple[int, int, int]
    difference: float
    levels: int
    share: float
    classes: float = 0.0
    lost: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the differences are within the bounds; one value of a small picture may always be rounded the other
        way.
        """
        few = max(MAX_SHARE, 1.5 / float(np.prod(self.shape)))
        return (
            self.difference <= MAX_DIFFERENCE
            and self.levels <= MAX_LEVELS
            and self.classes <= few
            and self.lost <= MAX_LOST
        )

    def __str__(self) -> str:
        number, height, width = self.shape
        return (
            f'{number} x {width}x{height}: {self.difference:.1e}, {self.levels} gray levels on {100 * self.share:.4f} %'
            + (f', another class on {100 * self.classes:.4f} %' if self.classes else '')
            + (f', {100 * self.lost:.2f} % of the boxes differ' if self.lost else '')
        )


def sizes_to_check(smallest: int, multiple: int = 1) -> List[Tuple[int, int, int]]:
    """(N, H, W) of three batches: the smallest size, odd sides, and a size of two multiples.

    Examples:
        >>> sizes_to_check(16)
        [(1, 16, 19), (2, 37, 51), (3, 64, 48)]
    """
    step = max(multiple, 16)
    return [
        (1, smallest, smallest + 3),
        (2, smallest + 21, smallest + 35),
        (3, *(-(-(smallest + extra) // step) * step for extra in (48, 32))),
    ]


def example_pictures(
    shape: Tuple[int, int, int], channels: Sequence[int], dtype: str, seed: int = SEED
) -> List[np.ndarray]:
    """Drawn pictures (N, H, W, C) with smooth parts, edges and noise, of both sources.

    Examples:
        >>> [picture.shape for picture in example_pictures((1, 16, 20), (3, 1), 'uint8')]
        [(1, 16, 20, 3), (1, 16, 20, 1)]
    """
    number, height, width = shape
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    pictures = []
    for count in channels:
        phase = rng.uniform(0, 6, (2, number, 1, 1, count))
        waves = np.sin(9 * y[..., None] + phase[0]) * np.cos(7 * x[..., None] + phase[1])
        boxes = (np.sin(23 * x) * np.sin(19 * y) > 0.6)[..., None] * rng.uniform(-0.4, 0.4, (number, 1, 1, count))
        picture = 0.5 + 0.3 * waves + boxes + rng.normal(0, 0.03, (number, height, width, count))
        picture = picture.clip(0, 1).astype(np.float32)
        pictures.append(picture if dtype == 'float32' else np.floor(picture * 255 + 0.5).astype(np.uint8))
    return pictures


def run_both(
    graph: nn.Module, session, pictures: Sequence[np.ndarray]
) -> Tuple[Dict[str, np.ndarray], Dict[str, np.ndarray]]:
    """What the network and its exported graph make of two pictures, by the name of the output."""
    with torch.no_grad():
        expected = {name: value.numpy() for name, value in graph(*map(torch.from_numpy, pictures)).items()}
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, dict(zip(('first', 'second'), pictures)))
    return expected, dict(zip(names, found))


def check_picture(
    shape: Tuple[int, int, int], expected: Dict[str, np.ndarray], found: Dict[str, np.ndarray]
) -> SizeCheck:
    """Compare the fused pictures of one size."""
    levels = np.abs(expected[FUSED].astype(int) - found[FUSED])
    difference = float(np.abs(expected[FLOATS] - found[FLOATS]).max())
    if not np.isfinite(found[FLOATS]).all():
        difference = float('inf')
    classes = float((expected[CLASS_MAP] != found[CLASS_MAP]).mean()) if CLASS_MAP in expected else 0.0
    lost = _lost_boxes(expected, found) if BOXES in expected else 0.0
    return SizeCheck(shape, difference, int(levels.max()), float((levels > 0).mean()), classes, lost)


def _lost_boxes(expected: Dict[str, np.ndarray], found: Dict[str, np.ndarray]) -> float:
    """Share of the boxes of either side that the other one does not have."""
    total = lost = 0
    for image in range(len(expected[BOXES])):
        sides = []
        for values in (expected, found):
            present = values[SCORES][image] > 0
            sides.append([values[name][image][present] for name in (BOXES, SCORES, LABELS)])
        for (boxes, scores, labels), others in (sides, sides[::-1]):
            near = np.abs(boxes[:, None] - others[0]).max(2, initial=0) <= MAX_BOX_SHIFT
            near &= np.abs(scores[:, None] - others[1]) <= MAX_SCORE_SHIFT
            near &= labels[:, None] == others[2]
            total += len(boxes)
            lost += int((~near.any(1)).sum())
    return lost / max(total, 1)


def check_graph(
    graph: nn.Module, session, channels: Sequence[int], dtype: str, smallest: int, multiple: int = 1
) -> List[SizeCheck]:
    """Run a graph in onnxruntime on three sizes and compare.

    Args:
        graph: The network, as it was exported.
        session: onnxruntime session with all its outputs.
        channels: Of both sources.
        dtype: Of the inputs.
        smallest: Smallest height and width.
        multiple: Multiple of which the last size is one.

    Raises:
        UserError: A size does not run, or differs by more than is allowed.
    """
    checks = []
    for shape in sizes_to_check(smallest, multiple):
        pictures = example_pictures(shape, channels, dtype)
        try:
            checks.append(check_picture(shape, *run_both(graph, session, pictures)))
        except RuntimeError as error:  # onnxruntime's own errors are RuntimeErrors
            raise UserError(
                f'the exported graph does not run on {shape[0]} pictures of {shape[2]}x{shape[1]}: '
                f'{_first_line(error)}. '
                'No file was written'
            ) from error
    failed = [check for check in checks if not check.passed]
    number = sum(int(np.prod(check.shape)) for check in checks)
    share = sum(check.share * np.prod(check.shape) for check in checks) / number
    if failed or share > max(MAX_SHARE, 1.5 / number):
        listing = '; '.join(map(str, failed or checks))
        raise UserError(
            f'the exported graph differs from the network ({listing}); allowed are {MAX_DIFFERENCE:g}, '
            f'and one gray level on {100 * MAX_SHARE:g} % of the values. No file was written'
        )
    return checks


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300]
